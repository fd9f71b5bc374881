"""`catdog find`: what it trains it keeps, it goes on where it was stopped, and what it cannot use it names."""
import json
import os
import signal
import subprocess

import pytest
from conftest import BIN, ROOT, catdog, options, take_interrupts

QUICK = dict(candidates='test_resnet,test_byobnet', weights='none', image_size=64, epochs=1, folds=2)


@pytest.fixture(scope='module')
def found(tmp_path_factory, pets):
    "A finished search, with a budget that lets everything be trained"
    folder = tmp_path_factory.mktemp('found')
    done = catdog('find', pets, *options({**QUICK, 'runs': folder, 'budget': '1h'}))
    return folder, done


def test_find_ends_in_a_sentence_and_runs(found):
    folder, done = found
    assert done.returncode in (0, 3), done.stderr
    said = ' '.join(done.stdout.split())
    assert ('Take test_' in said) == (done.returncode == 0 or 'is shown' in said)
    assert 'of 4 and' in said and 'training everything would take' in said
    assert list(folder.glob('test_*/run.json'))


def test_its_runs_are_compared_like_any_other(found, tmp_path):
    folder, _ = found
    chosen = catdog('choose', folder, '--json')
    assert {c['setup'] for c in json.loads(chosen.stdout)['candidates']} <= {'test_resnet', 'test_byobnet'}
    narrowed = catdog('next', folder)
    assert narrowed.returncode == 0 and ('open' in narrowed.stdout.lower()), narrowed.stderr


@pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='in the long form (make faults)')
def test_find_goes_on_where_it_was_stopped(pets, tmp_path):
    command = [BIN/'catdog', 'find', pets, *options({**QUICK, 'runs': tmp_path, 'budget': '1h'})]
    process = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True, preexec_fn=take_interrupts)
    for line in process.stderr:
        if '% of 30 photos' in line: break       # the first training is done
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130 and 'goes on' in rest, rest
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('*/model.safetensors')}
    done = catdog('find', *[str(c) for c in command[2:]])
    assert done.returncode in (0, 3), done.stderr
    assert before and all(path.stat().st_mtime_ns == changed for path, changed in before.items())


@pytest.mark.parametrize('settings, said', [
    (dict(candidates='resnet19'), 'did you mean'), (dict(candidates='test_resnet', max_mb=.001), 'over the budget'),
    (dict(candidates='test_resnet', budget='soon'), '30m'), (dict(candidates='convnextv2_atto', licence='mit'), 'cc-by-nc')])
def test_what_cannot_be_used_is_named(pets, tmp_path, settings, said):
    done = catdog('find', pets, *options({**QUICK, 'runs': tmp_path, **settings}))
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr


def test_notebook_has_the_parameters_of_the_command():
    from catdog.finding.find import FindConfig
    cells = json.loads((ROOT/'nbs'/'find.ipynb').read_text())['cells']
    source = next(''.join(cell['source']) for cell in cells if 'parameters' in cell['metadata'].get('tags', []))
    assigned = {}
    exec(source, assigned)
    assert set(FindConfig.model_fields) == set(assigned)-{'__builtins__'}


def test_archs_lists_without_weights():
    done = catdog('archs', 'mobilenetv3_*', '--max-params', '3M', '--licence', 'apache*', '--json')
    rows = json.loads(done.stdout)
    assert rows and all(row['parameters'] <= 3 and row['licence'] == 'apache-2.0' for row in rows)


def test_a_long_list_of_candidates_is_no_long_name():
    from catdog.finding.find import make_find_config
    names = ','.join(f'efficientnet_b{i}' for i in range(40))
    assert make_find_config(candidates=names).candidates == names
