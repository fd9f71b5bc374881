"Helper processes: one that is killed costs no photo, and none outlives the command it works for."
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from conftest import words_of

from catdog.photos import workers
from catdog.photos.sample import draw_sample

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='signals are POSIX')


def test_a_killed_worker_loses_no_photo(pets):
    paths, done = sorted(pets.rglob('*.jpg'))*40, threading.Event()   # enough to take seconds
    kills = []
    def kill():
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            if done.wait(.3): return
            for child in psutil.Process().children():
                if '_serve' not in words_of(child): continue
                child.send_signal(number)
                kills.append(number)
    thread = threading.Thread(target=kill)
    thread.start()
    rows = dict(workers.inspect_files(paths, workers=1))
    done.set()
    thread.join()
    assert len(rows) == len(paths) and {row['status'] for row in rows.values()} == {'ok'}
    assert kills, 'the audit was over before a worker was killed'


def test_a_crash_is_not_remembered(tmp_path, pets):
    from catdog.photos.audit import AuditCache
    path, cache = str(next(pets.rglob('*.jpg'))), AuditCache(tmp_path/'audit.sqlite')
    row = workers.inspect_photo(path)
    for reason in ('decoder crashed (exit status -11)', workers._why_died(-9, False, 60), workers._why_died(-9, True, 60)):
        cache.add({path: {**row, 'status': 'skipped', 'reason': reason}})
        assert cache.find([path]) == {}
    cache.add({path: row})
    assert cache.find([path])[path]['status'] == 'ok'


def end_of(process, within=60):
    "Kill a process; whether its helpers are gone soon after"
    helpers = psutil.Process(process.pid).children(recursive=True)
    assert helpers, 'it has no helpers yet'
    process.kill()
    process.stdout.read()     # returns when no helper holds the pipe any more
    _, alive = psutil.wait_procs(helpers, timeout=within)
    process.wait()
    return not alive


def start(code, *arguments):
    return subprocess.Popen([sys.executable, '-c', code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def wait_for(condition, within=30):
    deadline = time.monotonic()+within
    while not condition() and time.monotonic() < deadline: time.sleep(.05)
    assert condition()


def test_killed_while_it_draws(tmp_path):
    draw = 'import sys; from catdog.photos.sample import draw_sample; draw_sample(sys.argv[1], n=5000, workers=2)'
    process = start(draw, tmp_path/'pets')
    wait_for(lambda: any(tmp_path.rglob('*.jpg')))
    assert end_of(process)
    assert [p.suffix for p in tmp_path.iterdir()] == ['.partial']
    draw_sample(tmp_path/'other', n=2)
    assert [p.name for p in tmp_path.iterdir()] == ['other']


def test_killed_while_it_audits(pets, tmp_path):
    code = '''import sys
from pathlib import Path
from catdog.photos.workers import inspect_files
for _ in inspect_files(sorted(Path(sys.argv[1]).rglob('*.jpg'))*200, workers=2): Path(sys.argv[2]).touch()'''
    process = start(code, pets, tmp_path/'begun')
    wait_for((tmp_path/'begun').exists)
    assert end_of(process)


def test_what_another_process_is_making_stays(tmp_path):
    code = '''import sys, time
from catdog.files import partial_path
partial_path(sys.argv[1]).mkdir()
print("made", flush=True)
time.sleep(60)'''
    process = start(code, tmp_path/'pets')
    assert process.stdout.readline() == b'made\n'
    draw_sample(tmp_path/'other', n=2)
    assert len(list(tmp_path.glob('.pets-*.partial'))) == 1
    process.kill()
    process.wait()
    again = 'import sys; from catdog.files import write_atomically; write_atomically(sys.argv[1], b"x")'
    subprocess.run([sys.executable, '-c', again, tmp_path/'note'], check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['note', 'other']


def test_nothing_is_said_to_others(tmp_path):
    "onnxruntime writes the id under which it reports into the home folder: there is none"
    pytest.importorskip('onnxruntime')
    env = {name: value for name, value in os.environ.items() if name != 'ORT_DISABLE_TELEMETRY'}
    code = 'import catdog.deploy.predict, onnxruntime; onnxruntime.SessionOptions()'
    subprocess.run([sys.executable, '-c', code], check=True, env={**env, 'HOME': str(tmp_path), 'XDG_CACHE_HOME': str(tmp_path/'cache')})
    assert not [p for p in tmp_path.rglob('*') if 'onnxruntime' in str(p) or 'deviceid' in p.name]


POOL = """
import sys
from joblib import Parallel, delayed
from catdog.sweeps.launch import ending_pools
with ending_pools(): Parallel(n_jobs=2, backend='loky')(delayed(abs)(i) for i in range(4))
print('idle', flush=True)
sys.stdin.read()
"""


def test_a_pool_that_has_no_job_yet_ends_with_its_sweep():
    process = subprocess.Popen([sys.executable, '-c', POOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b'idle\n'
    assert end_of(process)
