"""The catdog command as a person meets it: quick help, plain errors, answers as promised."""
import json
import signal
import subprocess
import time

import pytest
from conftest import BIN, TINY, catdog, options, take_interrupts


def test_help_imports_nothing_heavy():
    heavy = ('torch', 'timm', 'fastai', 'pandas', 'papermill', 'pydantic')
    code = f'import sys; import catdog.cli; print([m for m in {heavy} if m in sys.modules])'
    done = subprocess.run([BIN/'python', '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
    for command in ('sample', 'train', 'compare', 'predict'): assert command in catdog('--help').stdout


def test_train_help_lists_every_field():
    from catdog.training.config import RunConfig
    text = catdog('train', '--help').stdout
    for name in RunConfig.model_fields: assert f"--{name.replace('_', '-')}" in text


def test_version():
    from importlib.metadata import version
    assert catdog('--version').stdout.strip() == version('catdog-timm')


def test_sample(tmp_path):
    done = catdog('sample', tmp_path/'pets', '-n', 6, '--seed', 1)
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path/'pets')
    assert len(list((tmp_path/'pets'/'cat').iterdir())) == len(list((tmp_path/'pets'/'dog').iterdir())) == 3
    again = catdog('sample', tmp_path/'pets')
    assert again.returncode == 2 and 'not an empty folder' in again.stderr and 'Traceback' not in again.stderr


def test_train_writes_the_executed_notebook(runs):
    for folder in runs.iterdir():
        notebook = json.loads((folder/'train.ipynb').read_text())
        assert any('injected-parameters' in cell['metadata'].get('tags', []) for cell in notebook['cells'])
        tables = {'history.csv', 'predictions.parquet', 'valid_predictions.parquet', 'photos.parquet'}
        assert {p.name for p in folder.iterdir()} == {'run.json', *tables, 'model.safetensors', 'model.onnx', 'train.ipynb'}


def test_train_again_says_it_is_finished(runs, pets):
    done = catdog('train', *options({**TINY, 'data': pets, 'runs': runs}))
    assert done.returncode == 0 and 'finished already' in done.stderr and 'accuracy' in done.stderr


MISTAKES = [
    ('--archh', 'resnet18', '--arch'), ('--arch', 'resnet81', "'resnet18'"), ('--epochs', '0', 'epochs'),
    ('--data', 'no/where', 'no/where'),
]


@pytest.mark.parametrize('option, value, text', MISTAKES)
def test_train_errors_are_plain_and_leave_nothing(tmp_path, option, value, text):
    done = catdog('train', option, value, '--runs', tmp_path)
    assert done.returncode == 2 and text in done.stderr and 'Traceback' not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_doubtful_names_the_nearest_backbone(pets, tmp_path):
    done = catdog('doubtful', pets, '--arch', 'resnet5', '--review', tmp_path/'review.csv')
    assert done.returncode == 2 and "did you mean 'resnet50'" in done.stderr and 'Traceback' not in done.stderr


def test_lines_of_a_log_are_whole_and_in_order(tmp_path, pets):
    "As with `> log 2>&1`: both streams into one file"
    with open(tmp_path/'log', 'w') as log:
        settings = {**TINY, 'epochs': 3, 'data': pets, 'runs': tmp_path/'runs'}
        subprocess.run([str(c) for c in (BIN/'catdog', 'train', *options(settings))], stdout=log, stderr=log, check=True, timeout=300)
    lines = (tmp_path/'log').read_text().splitlines()
    epochs = [i for i, line in enumerate(lines) if '  epoch ' in line]
    assert len(epochs) == 3 and all(f'epoch {n+1}/3' in lines[i] and lines[i].startswith('test_resnet') for n, i in enumerate(epochs))
    [result] = [i for i, line in enumerate(lines) if 'ms a photo' in line]
    assert epochs[-1] < result and lines[-1] == str(next((tmp_path/'runs').glob('test_resnet*')))


def test_help_fits_a_terminal_and_shells_complete(tmp_path):
    import os
    for command in ('--help', 'train', 'sweep', 'audit'):
        arguments = [command] if command == '--help' else [command, '--help']
        text = catdog(*arguments, env={**os.environ, 'COLUMNS': '80'}).stdout
        assert text and max(map(len, text.splitlines())) <= 80
    asked = {**os.environ, '_CATDOG_COMPLETE': 'complete_bash', 'COMP_WORDS': 'catdog train --weig', 'COMP_CWORD': '2'}
    assert '--weights' in catdog(env=asked).stdout


def test_predict_json_goes_on_after_a_broken_photo(runs, pets, tmp_path):
    model = next(runs.glob('test_resnet*'))
    (tmp_path/'broken.jpg').write_bytes(b'no photo')
    photos = [pets/'cat'/'cat.0.jpg', tmp_path/'broken.jpg', tmp_path/'missing.jpg', pets/'dog'/'dog.0.jpg']
    done = catdog('predict', model, *photos, '--json')
    assert done.returncode == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [t['path'] for t in told] == [str(p) for p in photos]
    good, bad = {'path', 'label', 'probabilities'}, {'path', 'error'}
    assert [set(t) for t in told] == [good, bad, bad, good]
    for t in (told[0], told[3]):
        assert set(t['probabilities']) == {'cat', 'dog'} and abs(sum(t['probabilities'].values())-1) < 1e-9
        assert t['label'] == max(t['probabilities'], key=t['probabilities'].get)
    alone = catdog('predict', model/'model.safetensors', photos[0], '--json')
    assert alone.returncode == 0 and json.loads(alone.stdout) == told[0]


def test_predictions_are_those_of_the_test(runs, pets):
    "What is deployed answers as what was measured"
    import pandas as pd
    from catdog.photos.catalogue import make_catalogue
    model = next(runs.glob('test_resnet*'))
    measured = pd.read_parquet(model/'predictions.parquet').set_index('sha256')
    test = make_catalogue(pets).query("split == 'test'")
    done = catdog('predict', model, *test.path, '--json')
    for row, line in zip(test.itertuples(), done.stdout.splitlines()):
        assert abs(json.loads(line)['probabilities']['cat']-measured.p_cat[row.sha256]) < 1e-4


def test_predict_names_what_is_missing(tmp_path):
    done = catdog('predict', tmp_path/'nowhere', 'photo.jpg')
    assert done.returncode == 2 and 'neither a run folder nor a model file' in done.stderr


def test_compare_without_runs(tmp_path):
    done = catdog('compare', tmp_path, '--out', tmp_path/'report')
    assert done.returncode == 2 and 'no finished run' in done.stderr and 'Traceback' not in done.stderr


def test_interrupt_leaves_a_run_that_is_marked(tmp_path, pets):
    settings = {**TINY, 'epochs': 500, 'data': pets, 'runs': tmp_path/'runs'}
    command = [str(c) for c in (BIN/'catdog', 'train', *options(settings))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=take_interrupts)
    deadline = time.monotonic()+240
    while not list((tmp_path).glob('runs/*/history.csv')) and time.monotonic() < deadline: time.sleep(.2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and 'the same command' in stderr
    [record] = tmp_path.glob('runs/*/run.json')
    assert json.loads(record.read_text())['status'] == 'interrupted'
    time.sleep(1)
    size = (record.parent/'history.csv').stat().st_size
    time.sleep(2)
    assert (record.parent/'history.csv').stat().st_size == size, 'training went on after Ctrl-C'
