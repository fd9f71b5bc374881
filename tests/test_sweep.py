"""Sweeps on the real launchers: every run in a process of its own, one failure among them, Ctrl-C, kill -9, and runs in a bucket."""
import json
import os
import signal
import subprocess
import time

import psutil
import pytest
from conftest import BIN, TINY, catdog, run


def settings(**values):
    "Settings as Hydra's overrides"
    return [f'{name}={value}' for name, value in {**TINY, **values}.items()]


def processes_of(folder):
    "Processes that a sweep into this folder started"
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in ' '.join(process.cmdline()): found += [process, *process.children(recursive=True)]
        except psutil.Error: continue
    return found


def is_python(process):
    try: return process.name().startswith('python') and len(process.parents()) > 2
    except psutil.Error: return False


def wait_for(condition, seconds=120):
    deadline = time.monotonic()+seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, 'it did not happen in time'
        time.sleep(.1)
    return value


@pytest.mark.parametrize('arguments, text', [
    (['archh=resnet18,vgg11'], "there is no parameter 'archh'; did you mean 'arch'?"),
    (['arch=resnet18,resnet81', 'seed=0,1'], "did you mean 'resnet18'"),
    (['data=no/where'], "data = 'no/where' is no folder"),
    (['hydra/launcher=slrm'], 'submitit_slurm'),
])
def test_mistakes_end_a_sweep_before_it_starts(tmp_path, arguments, text):
    done = catdog('sweep', *arguments, f'runs={tmp_path}/runs', timeout=60)
    assert done.returncode == 2 and text in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path/'runs').exists()


@pytest.mark.parametrize('preset', ['quick', 'families', 'efficiency'])
def test_presets_are_runs_of_real_backbones(preset):
    from catdog.sweeps.launch import read_sweep
    configs = read_sweep([f'+sweep={preset}']).configs
    assert len({c.arch for c in configs}) >= 4 and len(configs) == len(set(configs))


def test_your_own_preset(tmp_path):
    (tmp_path/'sweep').mkdir()
    grid = 'hydra:\n  sweeper:\n    params:\n      arch: baseline,test_resnet\n'
    (tmp_path/'sweep'/'mine.yaml').write_text(f'# @package _global_\nepochs: 7\n{grid}')
    done = catdog('sweep', '+sweep=mine', 'seed=1,2', '--config-dir', tmp_path, '--dry-run', f'runs={tmp_path}/runs')
    assert done.returncode == 0 and len(done.stdout.split()) == 4 and '4 to train' in done.stderr


def test_weights_mean_and_std_by_arch(tmp_path):
    "A table in a preset, for files of several makers"
    from catdog.sweeps.launch import read_sweep
    (tmp_path/'sweep').mkdir()
    for name in ('one', 'two'): (tmp_path/f'{name}.safetensors').touch()
    rows = [f'{{arch: test_resnet, weights: {tmp_path}/one.safetensors, mean: [0.4, 0.5, 0.6], std: [0.2, 0.2, 0.3]}}',
            f'{{arch: test_vit, weights: {tmp_path}/two.safetensors, mean: 0.5, std: 0.5}}']
    (tmp_path/'sweep'/'mine.yaml').write_text('# @package _global_\ngrids:\n'+''.join(f'  - {row}\n' for row in rows))
    found = read_sweep(['+sweep=mine', 'seed=0,1'], tmp_path).configs
    told = {(c.arch, c.weights.split('/')[-1], c.mean, c.std) for c in found}
    assert len(found) == 4 and told == {('test_resnet', 'one.safetensors', (.4, .5, .6), (.2, .2, .3)),
                                        ('test_vit', 'two.safetensors', (.5,)*3, (.5,)*3)}


def test_one_failure_does_not_end_the_others(tmp_path, pets):
    "On submitit's local executor"
    (tmp_path/'broken.pth').write_bytes(b'no weights')
    command = settings(weights=f'{tmp_path}/broken.pth,none', data=pets, runs=tmp_path/'runs', wandb='offline')
    done = catdog('sweep', *command, 'hydra/launcher=submitit_local')
    assert done.returncode == 1 and '1 finished, 1 failed' in done.stderr and 'broken.pth' in done.stderr
    notebook = done.stderr.split('notebook ')[1].splitlines()[0]
    assert 'broken.pth' in json.dumps(json.load(open(notebook))), 'the notebook of the failed run is named, and shows the error'
    [finished] = [p.parent for p in (tmp_path/'runs').glob('*/model.safetensors')]
    assert 'papermill' in (finished/'train.log').read_text() and json.loads((finished/'run.json').read_text())['hardware']['threads'] == 1
    [tracked] = finished.glob('wandb/offline-run-*/*.wandb')
    assert b'sweep-' in tracked.read_bytes(), 'Weights & Biases is not told of the group'

    again = catdog('sweep', *settings(data=pets, runs=tmp_path/'runs', wandb='offline'))
    assert again.returncode == 0 and '1 finished before' in again.stderr and 'running' not in again.stderr


def test_interrupted_and_killed_sweeps_go_on(tmp_path, pets):
    "Ctrl-C in a pool of two as a terminal sends it, then kill -9, then the same command to the end"
    runs = tmp_path/'runs'
    command = [str(c) for c in (BIN/'catdog', 'sweep', *settings(seed='0,1', epochs=40, data=pets, runs=runs))]
    pool = ['hydra/launcher=joblib', 'hydra.launcher.n_jobs=2']
    sweep = subprocess.Popen([*command, *pool], stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: list(runs.glob('*/history.csv')))
    os.killpg(sweep.pid, signal.SIGINT)
    _, told = sweep.communicate(timeout=60)
    assert sweep.returncode == 130 and 'told to end' in told and 'stopped' in told and 'Traceback' not in told
    assert processes_of(runs) == []
    assert 'interrupted' in {json.loads(p.read_text())['status'] for p in runs.glob('*/run.json')}

    sweep = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(is_python(p) for p in processes_of(runs) if p.pid != sweep.pid))
    sweep.kill()
    sweep.wait()
    wait_for(lambda: processes_of(runs) == [])         # what worked for it ends with it
    done = run(*command, *pool)
    states = [json.loads(path.read_text())['status'] for path in runs.glob('*/run.json')]
    assert done.returncode == 0 and states == ['finished', 'finished'], done.stderr
    assert processes_of(runs) == []


def test_runs_in_a_bucket_by_ray(tmp_path, pets, bucket):
    command = settings(data=pets, runs='s3://pets/runs', epochs=2)
    done = catdog('sweep', *command, 'hydra/launcher=ray', cwd=tmp_path)
    assert done.returncode == 0 and '1 finished' in done.stderr, done.stderr
    names = {p.split('/')[-1] for p in bucket.find('pets/runs')}
    tables = {'history.csv', 'predictions.parquet', 'valid_predictions.parquet', 'photos.parquet'}
    assert names == {'run.json', *tables, 'model.safetensors', 'model.onnx', 'train.ipynb', 'train.log'}
    assert list(tmp_path.iterdir()) == []

    from catdog.sweeps.launch import read_sweep, unfinished
    assert unfinished(read_sweep(command).configs) == []
    from catdog.sweeps.bucket import fetch_runs
    from catdog.comparison.gather import read_runs
    assert list(read_runs(fetch_runs('s3://pets/runs'))[0].arch) == ['test_resnet']

    missing = catdog('compare', 's3://nowhere/runs')
    assert missing.returncode == 2 and 's3://nowhere/runs' in missing.stderr and 'Traceback' not in missing.stderr


@pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='in the long form (make faults)')
def test_a_dead_ray_worker_is_tried_again(tmp_path, pets):
    pytest.importorskip('ray')
    runs = tmp_path/'runs'
    command = [str(word) for word in (BIN/'catdog', 'sweep', *settings(seed='0,1', epochs=20, data=pets, runs=runs), 'hydra/launcher=ray')]
    sweep = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    def worker():
        if not list(runs.glob('*/history.csv')): return None
        children = psutil.Process(sweep.pid).children(recursive=True)     # an agent of Ray's own is one too
        return next((one for one in children if one.cmdline()[:1] and one.cmdline()[0].startswith('ray::_hydra_job')), None)
    wait_for(worker, 300).kill()
    _, told = sweep.communicate(timeout=600)
    states = [json.loads(path.read_text())['status'] for path in runs.glob('*/run.json')]
    assert sweep.returncode == 0 and states == ['finished', 'finished'], told


def test_a_spot_machine_is_taken_away(tmp_path, pets, bucket):
    "Killed with all its files, a run goes on elsewhere from the checkpoint in the bucket"
    asked = settings(data=pets, runs='s3://pets/runs', epochs=24, checkpoint_minutes=.00001)
    command = [str(word) for word in (BIN/'catdog', 'sweep', *asked)]
    first, second = ({**os.environ, 'CATDOG_CACHE': str(tmp_path/name)} for name in ('first', 'second'))
    sweep = subprocess.Popen(command, env=first, stderr=subprocess.DEVNULL, start_new_session=True)
    def far_enough():
        bucket.invalidate_cache()
        history = next((tmp_path/'first').rglob('history.csv'), None)
        return bucket.glob('pets/runs/.unfinished/*.tar') and history and len(history.read_text().splitlines()) >= 3
    wait_for(far_enough)
    for process in [*psutil.Process(sweep.pid).children(recursive=True), sweep]: process.kill()
    sweep.wait()
    assert bucket.glob('pets/runs/*/run.json') == []
    done = run(*command, env=second)
    assert done.returncode == 0 and '1 finished' in done.stderr, done.stderr
    bucket.invalidate_cache()
    [log] = bucket.glob('pets/runs/*/train.log')
    assert b'goes on from its checkpoint' in bucket.cat(log) and bucket.glob('pets/runs/.unfinished/*') == []
    assert len(bucket.cat(log.replace('train.log', 'history.csv')).splitlines()) == 25


def test_each_job_sees_a_gpu_of_its_own(tmp_path, pets, monkeypatch):
    "Two GPUs that are only said to be there: each slot's job sees one, and a run that found none is marked"
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
    done = catdog('sweep', *settings(seed='0,1', data=pets, runs=tmp_path/'runs'), 'hydra/launcher=joblib')
    assert done.returncode == 0, done.stderr
    commands = [log.read_text().splitlines()[0] for log in (tmp_path/'runs').glob('*/train.log')]
    assert sorted(command.split()[1] for command in commands) == ['CUDA_VISIBLE_DEVICES=4', 'CUDA_VISIBLE_DEVICES=7']
    assert done.stderr.count('trained on the processor, though there was a GPU for it') >= 2
