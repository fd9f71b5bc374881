"""The user's own route: papermill runs train.ipynb and compare.ipynb, and the run folder holds what was asked for."""
import json

import pandas as pd
import pytest
from conftest import BIN, ROOT, TINY, parameters, run


@pytest.mark.parametrize('where', ['root', 'nbs'])
def test_papermill_trains_what_was_asked(tmp_path, pets, where):
    cwd = ROOT if where == 'root' else ROOT/'nbs'
    notebook = 'nbs/train.ipynb' if where == 'root' else 'train.ipynb'
    settings = {**TINY, 'data': pets, 'seed': 7, 'runs': tmp_path/'runs', 'rerun': 'false'}
    command = [BIN/'papermill', notebook, tmp_path/'out.ipynb', *parameters(settings)]
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path/'runs').iterdir()
    info = json.loads((folder/'run.json').read_text())
    assert info['status'] == 'finished'
    assert (info['config']['arch'], info['config']['seed'], info['config']['rerun']) == ('test_resnet', 7, False)
    assert (info['weights']['used'], info['resolved']['recipe'], info['preprocessing']['size']) == ('none', 'full', 48)
    predictions = pd.read_parquet(folder/'predictions.parquet')
    assert list(predictions.columns) == ['sha256', 'label', 'group', 'p_cat', 'p_dog']
    assert len(predictions) == info['metrics']['photos'] == 12
    assert len(pd.read_csv(folder/'history.csv')) == 1
    assert (folder/'model.safetensors').stat().st_size > 0

    started = info['started']
    again = run(*command, cwd=cwd)
    assert again.returncode == 0, again.stderr
    assert json.loads((folder/'run.json').read_text())['started'] == started, 'a finished run was trained again'


def test_progress_reaches_papermills_own_stderr(tmp_path, pets):
    settings = {**TINY, 'epochs': 2, 'data': pets, 'runs': tmp_path/'runs'}
    done = run(BIN/'papermill', ROOT/'nbs'/'train.ipynb', tmp_path/'out.ipynb', *parameters(settings))
    assert 'epoch 1/2' in done.stderr and 'epoch 2/2' in done.stderr and 'accuracy' in done.stderr


def test_papermill_compares(tmp_path, runs):
    done = run(BIN/'papermill', ROOT/'nbs'/'compare.ipynb', tmp_path/'out.ipynb', '-p', 'runs', runs, '-p', 'out', tmp_path/'report')
    assert done.returncode == 0, done.stderr
    written = {p.name for p in (tmp_path/'report').iterdir()}
    tables = [f'{name}.{kind}' for name in ('comparison', 'runs', 'pairs') for kind in ('csv', 'parquet')]
    assert written >= {'report.html', 'comparison.md', 'choice.json', *tables}
    assert set(pd.read_csv(tmp_path/'report'/'runs.csv').arch) == {'test_resnet', 'baseline'}
