"Trainings and sweeps that are killed at random: nothing lives on, and the same command ends as if nothing had happened."
import os
import random
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
from conftest import BIN, TINY, options

LONG = os.environ.get('CATDOG_FAULTS') == 'long'
pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='signals are POSIX')
SETTINGS = {**TINY, 'epochs': 3 if LONG else 2}
KINDS = ['one process', 'two processes', 'sweep']
SHORT = [('two processes', 0)]          # one process is killed in test_resume_after_kill, a sweep in the long form


def command(kind, pets, folder):
    "A training, or a sweep of two in a pool of processes"
    settings = {**SETTINGS, 'data': pets, 'runs': folder/'runs', **(dict(processes=2) if kind == 'two processes' else {})}
    if kind != 'sweep': return [BIN/'catdog', 'train', *map(str, options(settings))]
    pool = ['hydra/launcher=joblib', 'hydra.launcher.n_jobs=2', 'seed=0,1']
    return [BIN/'catdog', 'sweep', *pool, *(f'{name}={value}' for name, value in settings.items())]


def start(kind, pets, folder):
    "Begin it with a cache and a folder for temporary files of its own"
    places = dict(CATDOG_CACHE=str(folder/'cache'), TMPDIR=str(folder/'tmp'))
    for place in places.values(): os.makedirs(place, exist_ok=True)
    with open(folder/'said', 'a') as said:
        pipes = dict(stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        return subprocess.Popen(command(kind, pets, folder), env={**os.environ, **places}, **pipes)


def finish(kind, pets, folder):
    "Begin it and wait for its end; the predictions of each run"
    assert start(kind, pets, folder).wait(timeout=600) == 0, (folder/'said').read_text()[-3000:]
    runs = [run for run in sorted((folder/'runs').iterdir()) if not run.name.startswith('.')]
    return {run.name: pd.read_parquet(run/'predictions.parquet') for run in runs}


def of_it(folder):
    "Processes that were told of a folder, which is how all of a command's are known wherever they were started"
    found = []
    for process in psutil.process_iter():
        try: told = process.environ().get('TMPDIR') == str(folder/'tmp') and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error: continue
        if told: found.append(process)
    return found


@pytest.fixture(scope='module')
def unbroken(pets, tmp_path_factory):
    "Predictions and seconds of each kind, by kind, made when first asked for"
    made = {}
    def make(kind):
        if kind not in made:
            folder, begun = tmp_path_factory.mktemp('unbroken'), time.monotonic()
            made[kind] = finish(kind, pets, folder), time.monotonic()-begun
        return made[kind]
    return make


@pytest.mark.parametrize('kind, moment', [(kind, i) for kind in KINDS for i in range(25)] if LONG else SHORT)
def test_killed_at_any_moment(pets, tmp_path, unbroken, kind, moment):
    expected, seconds = unbroken(kind)
    process = start(kind, pets, tmp_path)
    time.sleep(random.Random(f'{kind} {moment}').uniform(.1, .95)*seconds)
    process.kill()
    process.wait()
    deadline = time.monotonic()+60
    while (alive := of_it(tmp_path)) and time.monotonic() < deadline: time.sleep(.2)
    assert not alive, [one.cmdline() for one in alive]
    found = finish(kind, pets, tmp_path)
    assert found.keys() == expected.keys()
    for name, predictions in found.items(): pd.testing.assert_frame_equal(predictions, expected[name])
    ours = ('.partial', 'workers', 'workers.log')
    left = [path for path in (tmp_path/'runs').rglob('*') if path.name.endswith(ours)]
    left += [path for path in (tmp_path/'cache').rglob('*.partial')]
    left += [path for path in (tmp_path/'tmp').glob('torchelastic*')]
    assert not left, left
