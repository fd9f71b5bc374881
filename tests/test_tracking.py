"""Weights & Biases never asks, never needs the network, never ends a training, and is not even loaded unless it is wanted."""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import BIN, TINY, catdog, options, run

KEY = 'local'+40*'0'


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
    assert list((tmp_path/'runs').glob('*/wandb/offline-run-*'))
    record = next((tmp_path/'runs').glob('*/run.json'))
    assert json.loads(record.read_text())['status'] == 'finished'


def test_the_environment_alone_switches_it_on(tmp_path, pets):
    "A setting that was left alone goes by WANDB_MODE; one that was given sends no more than it says"
    environment = {**os.environ, 'WANDB_MODE': 'offline', 'WANDB_PROJECT': 'of-the-environment'}
    runs = {name: tmp_path/name for name in ('left alone', 'disabled')}
    for name, folder in runs.items():
        given = {} if name == 'left alone' else dict(wandb=name)
        done = catdog('train', *options({**TINY, 'data': pets, 'runs': folder, **given}), env=environment)
        assert done.returncode == 0, done.stderr
    [file] = runs['left alone'].glob('*/wandb/offline-run-*/*.wandb')
    assert b'of-the-environment' in file.read_bytes() and not list(runs['disabled'].glob('*/wandb'))


def test_disabled_does_not_import_it(tmp_path, pets):
    code = f"""
import sys
from catdog.photos.catalogue import make_catalogue
from catdog.training.config import make_config
from catdog.training.finetune import fit, prepare
config = make_config(**{ {**TINY, 'data': str(pets), 'runs': str(tmp_path/'runs')} !r})
fit(prepare(config, make_catalogue(config.data), progress=False))
print('fastai.callback.wandb' in sys.modules)
"""
    done = run(sys.executable, '-c', code)
    assert done.stdout.strip().endswith('False'), done.stdout+done.stderr


@pytest.fixture
def server(tmp_path):
    "A W&B-compatible server on loopback: its process and its address"
    if not (BIN/'openwandb').exists(): pytest.skip('openwandb is not installed (it needs Python 3.11)')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    log = open(tmp_path/'server.log', 'w')
    command = [BIN/'openwandb', 'serve', '--host', '127.0.0.1', '--port', str(port), '--data-dir', tmp_path/'server']
    process = subprocess.Popen(command, stdout=log, stderr=log)
    address, end = f'http://127.0.0.1:{port}', time.monotonic()+60
    while True:
        try: urllib.request.urlopen(address+'/api/v1/viewer', timeout=5)
        except urllib.error.HTTPError: break
        except OSError:
            assert process.poll() is None and time.monotonic() < end, (tmp_path/'server.log').read_text()
            time.sleep(.2)
        else: break
    yield process, address
    process.kill()
    process.wait()


def tables(tmp_path):
    "What the server stored of each run: its row, its metrics and its artifacts"
    import sqlite3
    with sqlite3.connect(tmp_path/'server'/'openwandb.db') as database:
        database.row_factory = sqlite3.Row
        return {name: [dict(row) for row in database.execute(f'select * from {name}')] for name in ('runs', 'metrics', 'artifacts')}


def test_online_run_appears_on_the_server(tmp_path, pets, server):
    environment = {**os.environ, 'WANDB_BASE_URL': server[1], 'WANDB_API_KEY': KEY, 'WANDB_RUN_GROUP': 'five seeds'}
    done = catdog('train', *options({**TINY, 'epochs': 3, 'data': pets, 'runs': tmp_path/'runs', 'wandb': 'online'}), env=environment)
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path/'runs').iterdir()
    stored = tables(tmp_path)
    [row] = stored['runs']
    config, summary = json.loads(row['config_json']), json.loads(row['summary_json'])
    assert row['display_name'] == folder.name and row['state'] == 'finished'
    assert config['arch']['value'] == 'test_resnet' and config['hardware']['value']['cores'] == os.cpu_count()
    assert summary['accuracy'] == json.loads((folder/'run.json').read_text())['metrics']['accuracy']
    points = {}
    for metric in stored['metrics']: points.setdefault(metric['key'], []).append(metric['value'])
    assert len(points['valid_loss']) == 3 and len(points['lr']) == len(points['train_loss']) and len(points['lr']) % 3 == 0
    assert [a['artifact_type'] for a in stored['artifacts']].count('model') == 1
    [model] = [a for a in stored['artifacts'] if a['artifact_type'] == 'model']
    assert any('metrics' in str(value) and str(summary['accuracy']) in str(value) for value in model.values()), model


def test_server_that_dies_does_not_end_the_training(tmp_path, pets, server):
    process, address = server
    environment = {**os.environ, 'WANDB_BASE_URL': address, 'WANDB_API_KEY': KEY}
    settings = {**TINY, 'epochs': 40, 'data': pets, 'runs': tmp_path/'runs', 'wandb': 'online'}
    words = [str(x) for x in (BIN/'catdog', 'train', *options(settings))]
    command = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    for line in command.stderr:
        if 'epoch 3/40' in line: process.kill()
    assert command.wait(timeout=300) == 0
    command.stderr.close()
    [record] = (tmp_path/'runs').glob('*/run.json')
    assert json.loads(record.read_text())['status'] == 'finished'
