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


def start(photos, cache, pause):
    command = [sys.executable, '-c', PACK, photos, cache, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


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
    with pytest.warns(UserWarning, match=r'packing needs about .* GB in .* left'):
        direct = pack_photos(table.assign(width=10**9), SHAPE, tmp_path)
    assert isinstance(direct, DirectPhotos) and len(direct) == 240
    assert np.array_equal(direct[100], read_pixels(table.path[100], SHAPE))


def test_a_photo_that_went_away_is_named(photos, tmp_path):
    table = pd.read_parquet(photos).iloc[:8].copy()
    table.loc[5, 'path'] = str(tmp_path/'gone.jpg')
    with pytest.raises(FileNotFoundError, match='gone.jpg'): pack_photos(table, SHAPE, tmp_path)


def swap_sizes(pack):
    "Exchange height and width of the first photo that isn't square, and give the file its old time back"
    journal = pack.folder/'chunks.jsonl'
    stat, text = journal.stat(), journal.read_text()
    height, width = next(map(int, shape) for shape in pack.shapes if shape[0] != shape[1])
    journal.write_text(text.replace(f'[{height}, {width}]', f'[{width}, {height}]', 1))
    os.utime(journal, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def flip(file): file.write_bytes(bytes([file.read_bytes()[0]^255])+file.read_bytes()[1:])
def cut(file): file.write_bytes(file.read_bytes()[:-7])
def empty(file): file.write_bytes(b'')


@pytest.mark.parametrize('file', ['pixels.bin', 'chunks.jsonl'])
@pytest.mark.parametrize('how', [flip, cut, empty])
def test_damage_is_seen(photos, tmp_path, how, file): check_damage(photos, tmp_path, lambda pack: how(pack.folder/file))


def test_swapped_sizes_are_seen(photos, tmp_path): check_damage(photos, tmp_path, swap_sizes)


def check_damage(photos, tmp_path, damage):
    "A pack that was damaged is made again, with the pixels it had"
    table = pd.read_parquet(photos).iloc[:70]
    pack = pack_photos(table, SHAPE, tmp_path)
    damage(pack)
    with pytest.warns(UserWarning, match='does not hold what was written'): mended = pack_photos(table, SHAPE, tmp_path)
    for i in (0, 69): assert np.array_equal(mended[i], read_pixels(table.path[i], SHAPE))


@pytest.mark.parametrize('how', [flip, cut, empty])
def test_a_damaged_stamp_costs_a_second_look_only(photos, tmp_path, how):
    table = pd.read_parquet(photos).iloc[:8]
    how(pack_photos(table, SHAPE, tmp_path).folder/'checked.json')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert np.array_equal(pack_photos(table, SHAPE, tmp_path)[7], read_pixels(table.path[7], SHAPE))


def test_a_cache_that_cannot_be_made_reads_the_photos(photos, tmp_path):
    (tmp_path/'cache').write_text('a file where a folder should be')
    table = pd.read_parquet(photos).iloc[:8]
    with pytest.warns(UserWarning, match='cannot be written to'): direct = pack_photos(table, SHAPE, tmp_path/'cache'/'packs')
    assert np.array_equal(direct[3], read_pixels(table.path[3], SHAPE))


LIMITED = '''
import resource, sys, warnings, pandas as pd
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
from catdog.batches.packing import pack_photos
from catdog.photos.preprocessing import Preprocessing
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter('always')
    pack = pack_photos(pd.read_parquet(sys.argv[1]), Preprocessing(size=96), sys.argv[2], exact=False)
told = [w for w in told if w.category is UserWarning]
print(type(pack).__name__, len(told), pack[239].shape[2])
'''


@pytest.mark.parametrize('limit, kind', [(3_000_000, 'CompressedPhotos'), (100_000, 'DirectPhotos')])
def test_a_disk_that_fills_up_while_packing(photos, tmp_path, limit, kind):
    command = [sys.executable, '-c', LIMITED, photos, tmp_path, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [kind, '1', '3'], done.stderr
    assert not [p for p in tmp_path.glob('.*.partial') if p.is_dir()]


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity') or os.cpu_count() < 2, reason='needs two cores and affinity')
def test_threads_follow_affinity():
    code = 'import os; os.sched_setaffinity(0, {0}); from catdog.machine import usable_cores; print(usable_cores())'
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert out.stdout.strip() == '1'
    assert usable_cores() >= 1
