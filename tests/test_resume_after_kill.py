"""A training that was killed goes on from its checkpoint and ends as if it had not been; a full disk loses nothing."""
import os
import resource
import shutil
import signal
import subprocess
import time

import pytest
from conftest import BIN, TINY, catdog, options

SETTINGS = {**TINY, 'epochs': 12, 'batch_size': 8, 'ema': .9, 'mixup': .2, 'checkpoint_minutes': .00001}


def start(pets, runs, **kwargs):
    command = [str(x) for x in (BIN/'catdog', 'train', *options({**SETTINGS, 'data': pets, 'runs': runs}))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **kwargs)


def kill_children(process):
    "Kill the command and its kernel at once, as a power cut would"
    import psutil
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family: member.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=20)


def kill_when(process, condition, timeout=120):
    end = time.monotonic()+timeout
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, 'it never got so far'
        time.sleep(.002)
    kill_children(process)


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, pets):
    process = start(pets, tmp_path_factory.mktemp('unbroken'))
    folder = process.communicate(timeout=240)[0].strip().splitlines()[-1]
    assert process.returncode == 0
    return folder


@pytest.fixture(scope='module')
def killed(tmp_path_factory, pets, unbroken):
    "A run killed in its third epoch or after"
    runs = tmp_path_factory.mktemp('killed')
    folder = runs/os.path.basename(unbroken)
    kill_when(start(pets, runs), lambda: (folder/'history.csv').exists() and len((folder/'history.csv').read_text().splitlines()) >= 3)
    return folder


def files(folder):
    names = ('history.csv', 'model.safetensors', 'predictions.parquet')
    return {name: open(f'{folder}/{name}', 'rb').read() for name in names}


def test_killed_run_ends_as_the_unbroken_one(tmp_path, pets, unbroken, killed):
    shutil.copytree(killed, tmp_path/killed.name)
    done = catdog('train', *options({**SETTINGS, 'data': pets, 'runs': tmp_path}))
    assert done.returncode == 0, done.stderr
    assert 'goes on from its checkpoint' in done.stderr and 'epoch 1/12' not in done.stderr
    assert files(tmp_path/killed.name) == files(unbroken)
    assert not (tmp_path/killed.name/'checkpoint').exists()


def test_full_disk_leaves_the_last_good_checkpoint(tmp_path, pets, unbroken, killed):
    shutil.copytree(killed, tmp_path/killed.name)
    state = tmp_path/killed.name/'checkpoint'/'state.safetensors'
    before = state.read_bytes()
    limit = len(before)*2//3
    full = start(pets, tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    said = full.communicate(timeout=240)[0]
    assert full.returncode == 2 and 'could not be written' in said and 'the last good one stands' in said, said
    assert state.read_bytes() == before and sorted(p.name for p in state.parent.iterdir()) == ['state.safetensors']
    done = catdog('train', *options({**SETTINGS, 'data': pets, 'runs': tmp_path}))
    assert done.returncode == 0, done.stderr
    assert files(tmp_path/killed.name) == files(unbroken)
