"""Folders are called what people call them: each letter that another grammar takes for its own goes through every command unharmed."""
import json
import os
import shutil
import sys

import pytest
from conftest import ROOT, TINY, catdog, options, run

AWKWARD = {
    'equals': 'a=b', 'comma': 'a,b', 'quote': "it's", 'quotes': 'say "x"', 'hash': 'a#b', 'dollar': 'a$HOME', 'interpolation': 'a${runs}',
    'and': 'a&b', 'round': 'a(b', 'square': 'a[b', 'curly': 'a{b}', 'tilde': '~a', 'percent': '100%s', 'space': ' a  b',
    'chinese': '猫和狗',
}
ALL = '=,\'"#&([${~% 猫'    # in one name


def named(name):
    return pytest.mark.parametrize('name', list(name.values()), ids=list(name))


@pytest.fixture
def awkward(tmp_path, pets):
    "Photos and runs in a folder of any name"
    def make(name):
        (tmp_path/name).mkdir()
        return shutil.copytree(pets, tmp_path/name/name), tmp_path/name/'runs'
    return make


@named(AWKWARD)
def test_a_sweep_reads_them(name, tmp_path, monkeypatch):
    "As an absolute path, as one of the folder one stands in, and as one of several"
    from catdog.sweeps.launch import read_sweep
    (tmp_path/name).mkdir()
    monkeypatch.chdir(tmp_path)
    for text in (str(tmp_path/name), name):
        [config] = read_sweep([f'data={text}', 'arch=baseline', f'runs={tmp_path/name}/runs']).configs
        assert os.path.abspath(config.data) == str(tmp_path/name) and config.runs == f'{tmp_path/name}/runs'
    assert [c.data for c in read_sweep([f'data={tmp_path/name},sample', 'arch=baseline']).configs] == [str(tmp_path/name), 'sample']


@named(AWKWARD)
def test_presets_hold_them(name, tmp_path):
    "In a folder of presets, in a preset's own name and as a value in it"
    import yaml
    from catdog.sweeps.launch import read_sweep
    folder = tmp_path/name/'sweep'
    folder.mkdir(parents=True)
    sweeper = dict(params={'arch': 'baseline,test_resnet', 'data': str(tmp_path/name)})
    (folder/'mine.yaml').write_text('# @package _global_\n'+yaml.safe_dump(dict(hydra=dict(sweeper=sweeper)), allow_unicode=True))
    configs = read_sweep(['+sweep=mine'], tmp_path/name).configs
    assert {c.data for c in configs} == {str(tmp_path/name)} and len(configs) == 2


def test_a_preset_called_a_equals_b(tmp_path):
    from catdog.sweeps.launch import read_sweep
    (tmp_path/'sweep').mkdir()
    (tmp_path/'sweep'/'a=b.yaml').write_text('# @package _global_\nimage_size: 64\n')
    assert read_sweep(['+sweep=a=b', 'arch=baseline'], tmp_path).configs[0].image_size == 64


LAUNCHERS = dict(basic=[], joblib=['hydra/launcher=joblib', 'hydra.launcher.n_jobs=2'], submitit_local=['hydra/launcher=submitit_local'])


@pytest.mark.parametrize('launcher', list(LAUNCHERS.values()), ids=list(LAUNCHERS))
def test_a_sweep_trains_there(launcher, awkward):
    photos, runs = awkward(ALL)
    settings = [f'{name}={value}' for name, value in {**TINY, 'data': photos, 'runs': runs}.items()]
    done = catdog('sweep', *settings, *launcher)
    assert done.returncode == 0 and '1 finished' in done.stderr, done.stderr
    [record] = runs.glob('*/run.json')
    assert json.loads(record.read_text())['config']['data'] == str(photos)


def test_train_compare_predict_and_audit_there(awkward, tmp_path):
    photos, runs = awkward(ALL)
    done = catdog('train', *options({**TINY, 'data': photos, 'runs': runs}))
    assert done.returncode == 0, done.stderr
    [record] = runs.glob('*/run.json')
    assert record.parent.parent == runs and (record.parent/'train.ipynb').exists()
    report = catdog('compare', runs, '--out', runs.parent/'report')
    assert report.returncode == 0 and (runs.parent/'report'/'report.html').exists(), report.stderr
    photo = next((photos/'cat').iterdir())
    told = catdog('predict', record.parent, photo, '--json')
    assert told.returncode == 0 and json.loads(told.stdout)['path'] == str(photo), told.stderr
    audited = catdog('audit', photos, '--json', runs.parent/'audit.json', '--report', runs.parent/'card', '--no-issues')
    assert audited.returncode == 0 and (runs.parent/'card'/'card.html').exists(), audited.stderr
    assert {row['path'] for row in json.loads((runs.parent/'audit.json').read_text())} == {str(p) for p in photos.glob('*/*.jpg')}


def test_papermill_itself_there(awkward):
    "As a user types it; papermill takes braces in the notebook's own path for parameters, so that is given without"
    photos, runs = awkward(ALL)
    values = [text for name, value in {**TINY, 'data': photos, 'runs': runs}.items() for text in ('-p', name, value)]
    done = run(sys.executable, '-m', 'papermill', ROOT/'nbs'/'train.ipynb', photos.parent.parent/'out.ipynb', '-k', 'python3', *values)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(runs.glob('*/model.safetensors'))
