"""Weights & Biases never asks, never needs the network, and is not even loaded unless it is wanted."""
import json
import os
import subprocess
import sys

from conftest import TINY, catdog, options, run


def test_offline_run_is_written_into_the_run_folder(tmp_path, pets):
    done = catdog('train', *options({**TINY, 'data': pets, 'runs': tmp_path/'runs', 'wandb': 'offline'}))
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path/'runs').glob('*/wandb/offline-run-*/*.wandb')
    content = file.read_bytes()
    for text in (b'train_loss', b'valid_loss', b'test_resnet', b'accuracy'): assert text in content


def test_online_without_an_account_goes_offline(tmp_path, pets):
    environment = {**os.environ, 'HOME': str(tmp_path), 'WANDB_BASE_URL': 'http://127.0.0.1:9'}
    done = catdog('train', *options({**TINY, 'data': pets, 'runs': tmp_path/'runs', 'wandb': 'online'}), env=environment)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path/'runs').glob('*/wandb/offline-run-*')) and json.loads(next((tmp_path/'runs').glob('*/run.json')).read_text())['status'] == 'finished'


def test_disabled_does_not_import_it(tmp_path, pets):
    code = f"""
import sys
from catdog.data import make_catalogue
from catdog.finetune import fit, prepare
from catdog.run import make_config
config = make_config(**{ {**TINY, 'data': str(pets), 'runs': str(tmp_path/'runs')} !r})
fit(prepare(config, make_catalogue(config.data), progress=False))
print('fastai.callback.wandb' in sys.modules)
"""
    done = run(sys.executable, '-c', code)
    assert done.stdout.strip().endswith('False'), done.stdout+done.stderr
