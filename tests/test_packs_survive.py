"""Packs: resumed after a kill, made once by two processes, made again when damaged, read without a disk."""
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest

from catdog.machine import usable_cores
from catdog.photos.preprocessing import Preprocessing
from catdog.photos.catalogue import make_catalogue
from catdog.batches.packing import DirectPhotos, pack_photos, read_pixels

SHAPE = Preprocessing(size=96)
PACK = '''
import sys, time, pandas as pd
import catdog.batches.packing as packing
from catdog.photos.preprocessing import Preprocessing
read, decoded = packing.read_pixels, []
def slow_read(*args):
    decoded.append(args[0])
    time.sleep(float(sys.argv[3]))   # a slow disk
    return read(*args)
packing.read_pixels = slow_read
pack = packing.pack_photos(pd.read_parquet(sys.argv[1]), Preprocessing(size=96), sys.argv[2], workers=1)
print(len(decoded), len(pack))
'''


@pytest.fixture(scope='module')
def photos(tmp_path_factory, pets):
    "240 rows of a catalogue, more than one chunk"
    table = pd.concat([make_catalogue(pets)]*4, ignore_index=True)
    file = tmp_path_factory.mktemp('catalogue')/'photos.parquet'
    table.assign(path=table.path.astype(str)).to_parquet(file)
    return file


def start(photos, cache, pause): return subprocess.Popen([sys.executable, '-c', PACK, photos, cache, str(pause)], stdout=subprocess.PIPE, text=True)


def test_a_killed_packing_goes_on(photos, tmp_path):
    first = start(photos, tmp_path, .02)
    journal = lambda: next(tmp_path.glob('.*.partial/chunks.jsonl'), None)
    deadline = time.monotonic()+60
    while not (journal() and journal().read_text().count('\n') >= 2):
        assert time.monotonic() < deadline
        time.sleep(.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    decoded, total = map(int, start(photos, tmp_path, 0).communicate(timeout=60)[0].split())
    assert total == 240 and decoded <= 240-128
    table = pd.read_parquet(photos)
    pack = pack_photos(table, SHAPE, tmp_path)
    for i in (0, 127, 128, 239): assert np.array_equal(pack[i], read_pixels(table.path[i], SHAPE))


def test_two_processes_make_one_pack(photos, tmp_path):
    both = [start(photos, tmp_path, .005) for _ in range(2)]
    counts = sorted(int(p.communicate(timeout=60)[0].split()[0]) for p in both)
    assert counts == [0, 240]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_pack_is_made_again_and_a_copied_one_is_not(photos, tmp_path):
    table = pd.read_parquet(photos)
    pack = pack_photos(table, SHAPE, tmp_path)
    pixels = pack.folder/'pixels.bin'
    os.utime(pixels)   # as a copy would have it: another time, the same bytes
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        pack_photos(table, SHAPE, tmp_path)
    with open(pixels, 'r+b') as file:
        file.seek(-5, os.SEEK_END)
        file.write(b'12345')
    with pytest.warns(UserWarning, match='does not hold what was written'): mended = pack_photos(table, SHAPE, tmp_path)
    assert np.array_equal(mended[239], read_pixels(table.path[239], SHAPE))


def test_a_disk_too_small_reads_the_photos(photos, tmp_path):
    table = pd.read_parquet(photos)
    with pytest.warns(UserWarning, match=r'packing needs about .* GB in .* left'): direct = pack_photos(table.assign(width=10**9), SHAPE, tmp_path)
    assert isinstance(direct, DirectPhotos) and len(direct) == 240
    assert np.array_equal(direct[100], read_pixels(table.path[100], SHAPE))


def test_a_photo_that_went_away_is_named(photos, tmp_path):
    table = pd.read_parquet(photos).iloc[:8].copy()
    table.loc[5, 'path'] = str(tmp_path/'gone.jpg')
    with pytest.raises(FileNotFoundError, match='gone.jpg'): pack_photos(table, SHAPE, tmp_path)


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity') or os.cpu_count() < 2, reason='needs two cores and affinity')
def test_threads_follow_affinity():
    out = subprocess.run([sys.executable, '-c', 'import os; os.sched_setaffinity(0, {0}); from catdog.machine import usable_cores; print(usable_cores())'], capture_output=True, text=True)
    assert out.stdout.strip() == '1'
    assert usable_cores() >= 1
