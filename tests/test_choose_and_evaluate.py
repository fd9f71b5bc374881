"""catdog choose and catdog evaluate as a person or a script meets them, on real run folders."""
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import catdog


@pytest.fixture
def copies(tmp_path, runs):
    "The two finished runs, to be spoiled"
    return shutil.copytree(runs, tmp_path/'runs')


def spoil(folder, name, change):
    "A copy of a run with its record changed"
    shutil.copytree(folder, folder.parent/name)
    record = folder.parent/name/'run.json'
    record.write_text(change(record.read_text()))


def test_choose_answers_a_script(tmp_path):
    from catdog.comparison.example import write_example_run
    for arch, milliseconds in (('small', 3.), ('large', 40.)): write_example_run(tmp_path, arch, 0, .97, milliseconds)
    done = catdog('choose', tmp_path, '--max-ms', 1e6, '--delta', 100-1e-9, '--json')
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    costs = {c['setup']: c['latency'] for c in told['candidates']}
    assert told['decided'] and told['chosen'] == min(costs, key=costs.get) and len(told['sentences']) == 2


def test_choose_says_when_it_cannot_know(runs):
    done = catdog('choose', runs, '--delta', 0, '--by', 'macs')
    assert done.returncode in (0, 3), done.stderr
    open_or_guesses = ('cannot decide', 'always guessing')       # networks trained for an epoch are hardly better than that
    assert done.returncode == (3 if any(text in done.stdout.replace('\n', ' ') for text in open_or_guesses) else 0)
    over = catdog('choose', runs, '--max-mb', .001)
    assert over.returncode == 4 and 'No setup is within the budget' in over.stdout.replace('\n', ' ')


SENSELESS = [(('--max-ms', '-5'), 'above 0'), (('--delta', '500'), 'between 0 and 100'),
    (('--by', 'price'), 'latency, size'), (('--data', 'cars'), 'there are pets')]


@pytest.mark.parametrize('flags, said', SENSELESS)
def test_choose_refuses_what_makes_no_sense(runs, flags, said):
    done = catdog('choose', runs, *flags)
    assert done.returncode == 2 and said in done.stderr and 'Traceback' not in done.stderr


def test_unusable_folders_are_named_and_left_out(copies):
    good = next(copies.glob('test_resnet*'))
    spoil(good, 'cut', lambda text: text[:len(text)//2])
    spoil(good, 'under-way', lambda text: text.replace('"finished"', '"training"'))
    spoil(good, 'older', lambda text: text.replace('"hardware"', '"machine"'))
    spoil(good, 'list', lambda text: '[1, 2]')
    spoil(good, 'double', lambda text: text)
    shutil.copytree(good, copies/'torn')
    (copies/'torn'/'predictions.parquet').write_bytes((good/'predictions.parquet').read_bytes()[:300])
    spoil(good, 'other', lambda text: text.replace('"pool": "', '"pool": "x'))
    table = pd.read_parquet(copies/'other'/'predictions.parquet')
    table.assign(sha256='x'+table.sha256).to_parquet(copies/'other'/'predictions.parquet')
    record = json.loads((copies/'other'/'run.json').read_text())
    (copies/'other'/'run.json').write_text(json.dumps({**record, 'files': {}}))      # a whole run of other photos, not a damaged one
    (copies/'empty').mkdir()
    done = catdog('choose', copies, '--delta', 50, '--json')
    assert done.returncode in (0, 3), done.stderr
    left = json.loads(done.stdout)['left_out']
    assert {'cut', 'under-way', 'older', 'list', 'torn', 'other'} < set(left) and len(left) == 7
    assert 'other photos' in left['other'] and "'training'" in left['under-way'] and all(left.values())


def test_artefact_answers_as_the_test_did(runs, pets):
    "From the bytes of each test photo to the probabilities that were measured"
    from catdog.photos.catalogue import find_by_hash
    from catdog.deploy.predict import Artefact
    folder = next(runs.glob('baseline*'))
    artefact, table = Artefact(folder/'model.onnx'), pd.read_parquet(folder/'predictions.parquet')
    found = find_by_hash(pets, table.sha256)
    assert len(found) == len(table)
    ours = np.stack([artefact.probabilities(found[s]) for s in table.sha256])
    assert np.abs(ours-table[[f'p_{c}' for c in artefact.classes]].to_numpy()).max() < 5e-3


def test_evaluate_adds_to_a_run(copies, tmp_path):
    from catdog.photos.sample import draw_sample
    other = draw_sample(tmp_path/'other', n=10, seed=8)
    run = next(copies.glob('baseline*'))
    done = catdog('evaluate', run, '--also', other, '--robustness', '--limit', 6)
    assert done.returncode == 0, done.stderr
    info = json.loads((run/'run.json').read_text())
    [(name, found)] = info['also'].items()
    assert name.startswith('other ') and found['photos'] == 10 and len(info['robustness']) == 24
    (other/'dog').rename(other/'wolf')
    refused = catdog('evaluate', run, '--also', other)
    assert refused.returncode == 1 and 'the class wolf, which this run does not know' in refused.stderr
    idle = catdog('evaluate', run)
    assert idle.returncode == 2 and 'nothing to do' in idle.stderr


def test_other_test_sets_keep_apart(copies, pets, tmp_path):
    "Photos the run learned from are no test, one class is, and two sets of one name do not overwrite each other"
    from catdog.evaluation.evaluate import evaluate_folder
    from catdog.photos.sample import draw_sample
    from catdog.training.run import Run
    run = next(copies.glob('baseline*'))
    with pytest.raises(ValueError, match='no photo that is new'): evaluate_folder(Run(run), also=str(pets))
    first, second = draw_sample(tmp_path/'1'/'other', n=10, seed=8), draw_sample(tmp_path/'2'/'other', n=6, seed=9)
    shutil.copy(pets/'cat'/'cat.0.jpg', first/'cat'/'learned-from.jpg')
    for folder in (first, second, first/'dog'): evaluate_folder(Run(run), also=str(folder))
    also = json.loads((run/'run.json').read_text())['also']
    counts = sorted((name.split()[0], found['photos'], found['seen']) for name, found in also.items())
    assert counts == [('dog', 5, 0), ('other', 6, 0), ('other', 10, 1)]
    assert len(list(run.glob('also-*.parquet'))) == 3
    dogs = next(found for name, found in also.items() if name.startswith('dog'))
    assert dogs['balanced_accuracy'] == dogs['accuracy'] and dogs['roc_auc'] is None


@pytest.mark.parametrize('name', ['predictions.parquet', 'model.safetensors', 'model.onnx'])
def test_damaged_files_are_noticed(copies, name):
    "A bit that flipped in a file of a run: most parquet readers would not notice"
    run = next(copies.glob('baseline*'))
    data = bytearray((run/name).read_bytes())
    data[len(data)//2] ^= 1
    (run/name).write_bytes(data)
    done = catdog('choose', copies, '--json')
    left = json.loads(done.stdout)['left_out']
    assert left == {run.name: f'{name} changed after the run had ended: damaged, or of another run'}


def test_one_changed_digit_of_a_record_is_noticed(tmp_path):
    "It leaves valid JSON; without its hash the record is taken as it is, as one of before there was a hash is"
    from catdog.comparison.example import write_example_run
    from catdog.training.run import Run
    changed, _ = (write_example_run(tmp_path, arch, 0, .9) for arch in ('small', 'large'))
    text = (changed/'run.json').read_text()
    assert text.count('"latency_ms": 10.0') == 1
    (changed/'run.json').write_text(text.replace('"latency_ms": 10.0', '"latency_ms": 11.0'))
    told = catdog('choose', tmp_path, '--json').stderr
    assert f'{changed}/run.json was changed after it was written' in told and 'Traceback' not in told, told
    with pytest.warns(UserWarning, match='was changed after it was written'): Run(changed).update(status='finished')
    assert 'was changed after it was written' in catdog('choose', tmp_path, '--json').stderr      # what is added makes it not whole
    (changed/'run.json').write_text(re.sub(' "sha256": .*\n', '', (changed/'run.json').read_text()))
    assert 'was changed' not in catdog('choose', tmp_path, '--json').stderr


def test_export_does_without_the_extra(tmp_path, monkeypatch):
    "A run goes on, and its record says what to install"
    from catdog.deploy import export
    from catdog.evaluation import evaluate
    from catdog.photos.sample import draw_picture
    from catdog.models.backbone import build_model, save_model
    monkeypatch.setattr(export, 'EXTRA', ('a_package_that_is_not_there',))
    model, shape, _ = build_model('test_resnet', 2, 'none', image_size=48)
    save_model(tmp_path/'model.safetensors', model, 'test_resnet', ['cat', 'dog'], shape)
    draw_picture('cat', 1).save(tmp_path/'cat.jpg')
    found = evaluate.measure_costs(tmp_path, model, shape, ['cat', 'dog'], [tmp_path/'cat.jpg'])
    assert "pip install '.[deploy]'" in found['onnx']['note'] and found['latency_ms'] > 0
    assert not (tmp_path/'model.onnx').exists()
