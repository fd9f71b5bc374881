"""The audit finds every planted fault and nothing else, whatever a file does to it, and remembers what it found."""
import csv
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import catdog
from PIL import Image

from catdog.photos import workers as looking
from catdog.photos.decode import MAX_PIXELS
from catdog.photos.audit import AuditCache, JSON_FIELDS, audit_photos

# Looks at photos that are over the limit, and prints the process's peak KiB
PEAK = r"""
import re, sys
from catdog.photos.workers import inspect_photo
for path in sys.argv[1:]: assert inspect_photo(path)["status"] == "skipped"
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""


@pytest.fixture(scope='module')
def dirty(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dirty')/'pets'
    done = catdog('sample', folder, '-n', 40, '--seed', 5, '--dirty')
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='module')
def audited(dirty, tmp_path_factory):
    out = tmp_path_factory.mktemp('audit')
    done = catdog('audit', dirty, '--json', out/'audit.json', '--report', out/'report')
    assert done.returncode == 0, done.stderr
    return done, {Path(row['path']).relative_to(dirty).as_posix(): row for row in json.loads((out/'audit.json').read_text())}, out/'report'


def test_every_fault_and_nothing_else(dirty, audited):
    done, rows, _ = audited
    assert all(list(row) == JSON_FIELDS for row in rows.values())
    planted = {row['path']: row for row in csv.DictReader(open(dirty/'faults.csv'))}
    for path, fault in planted.items():
        if fault['fault'] == 'hidden':
            assert path not in rows
            continue
        row = rows[path]
        assert row['status'] == fault['status'] and row['reason'].startswith(fault['reason']), (fault, row)
        assert bool(row['reason']) == bool(fault['reason']), (fault, row)
    assert {rows[p]['status'] for p in rows if p not in planted} == {'ok'} and len([p for p in rows if p not in planted]) == 40
    assert '3 hidden or system files passed over' in done.stderr


def test_odd_files_are_noted_and_copies_grouped(dirty, audited):
    catalogue = pd.read_parquet(audited[2]/'catalogue.parquet')
    catalogue.index = [f'{Path(p).parent.name}/{Path(p).name}' for p in catalogue.path]
    looks = ('dark', 'light', 'blurry', 'odd_aspect_ratio', 'low_information')
    for row in csv.DictReader(open(dirty/'faults.csv')):
        if row['note']: assert catalogue.note[row['path']] == row['note']
        if row['original']:
            for column in (catalogue.group, catalogue.split): assert column[row['path']] == column[row['original']], row
        if row['fault'] in looks: assert catalogue[row['fault']][row['path']], row
    copies = {row['path'] for row in csv.DictReader(open(dirty/'faults.csv')) if row['original']} | {'cat/cat.0.jpg', 'dog/dog.0.jpg'}
    assert set(catalogue.index[catalogue.groupby('group').path.transform('size') > 1]) == copies
    card = (audited[2]/'card.html').read_text()
    assert '<svg' in card and 'decompression bomb' in card and '<img' not in card


def test_sideways_photo_stands_up(dirty, audited):
    from PIL import Image
    path = next(row['path'] for row in csv.DictReader(open(dirty/'faults.csv')) if row['fault'] == 'orientation')
    with Image.open(dirty/path) as image: assert image.size == (audited[1][path]['height'], audited[1][path]['width'])


def test_second_audit_decodes_nothing(dirty, tmp_path):
    photos, cache = pd.DataFrame(dict(path=sorted(dirty.rglob('*.jpg')))), AuditCache(tmp_path/'audit.sqlite')
    first = audit_photos(photos, cache=cache)
    for path in photos.path: os.utime(path)   # touched, but the same content
    missed = set(map(str, photos.path))-set(cache.find(list(map(str, photos.path))))
    assert not missed and audit_photos(photos, cache=cache).equals(first)


def test_changed_file_is_looked_at_again(dirty, tmp_path):
    cache, path = AuditCache(tmp_path/'audit.sqlite'), tmp_path/'a.jpg'
    data = (dirty/'cat'/'cat.0.jpg').read_bytes()
    path.write_bytes(data)
    photos = pd.DataFrame(dict(path=[path]))
    assert audit_photos(photos, cache=cache).status[0] == 'ok'
    path.write_bytes(data[:len(data)//2].ljust(len(data), b'\0'))   # the same size
    assert audit_photos(photos, cache=cache).status[0] == 'skipped'


@pytest.fixture
def hostile(monkeypatch, tmp_path):
    "Files at which a worker's decoder dies or never returns: a sitecustomize of the worker's makes it so"
    (tmp_path/'site').mkdir()
    (tmp_path/'site'/'sitecustomize.py').write_text('''
import os, sys, time
if sys.argv and sys.argv[0] == '-c':
    import simplejpeg
    decode = simplejpeg.decode_jpeg
    def decode_jpeg(data, *args, **options):
        if data.endswith(b'crash'): os.kill(os.getpid(), 11)
        if data.endswith(b'stall'): time.sleep(1000)
        return decode(data, *args, **options)
    simplejpeg.decode_jpeg = decode_jpeg
''')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path/'site'), os.environ.get('PYTHONPATH', '')]))


def test_no_file_crashes_or_stalls_it(hostile, dirty, tmp_path):
    data = (dirty/'cat'/'cat.0.jpg').read_bytes()
    for i in range(12): (tmp_path/f'{i:02}.jpg').write_bytes(data+{3: b'crash', 4: b'crash', 7: b'stall'}.get(i, b''))
    paths = sorted(tmp_path.glob('*.jpg'))
    start = time.monotonic()
    rows = [row for _, row in sorted(looking.inspect_files(paths, workers=2, timeout=4))]
    assert time.monotonic()-start < 30
    assert [i for i, row in enumerate(rows) if row['status'] != 'ok'] == [3, 4, 7]
    assert 'crashed' in rows[3]['reason'] and 'crashed' in rows[4]['reason'] and rows[7]['reason'] == 'decoding took over 4 seconds'
    assert all(len(row['sha256']) == 64 for row in rows)


def test_stopping_early_leaves_no_worker(dirty):
    import psutil
    before = set(psutil.Process().children())
    for _ in looking.inspect_files(sorted(dirty.rglob('*.jpg'))*20, workers=2): break
    deadline = time.monotonic()+10
    while set(psutil.Process().children())-before and time.monotonic() < deadline: time.sleep(.05)
    assert not set(psutil.Process().children())-before


@pytest.mark.skipif(sys.platform == 'win32', reason='pipes and sockets in folders are POSIX')
def test_fifo_is_no_photo(dirty, tmp_path):
    from catdog.photos.sources import find_photos
    for label in ('cat', 'dog'):
        (tmp_path/'pets'/label).mkdir(parents=True)
        os.link(dirty/label/f'{label}.0.jpg', tmp_path/'pets'/label/'0.jpg')
    os.mkfifo(tmp_path/'pets'/'cat'/'pipe.jpg')
    assert len(find_photos(tmp_path/'pets')) == 2


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='peak memory is read from /proc')
def test_memory_is_bounded_by_the_limit_not_by_the_claim(tmp_path):
    "A worker that meets claims of 10 gigapixels, and a photo under the limit, stays under what the limit allows"
    import subprocess
    from catdog.photos.faults import _png
    (tmp_path/'claim.png').write_bytes(_png(100_000, 100_000, 1))
    (tmp_path/'bomb.png').write_bytes(_png(12_000, 12_000, 12_000))
    command = [sys.executable, '-c', PEAK, tmp_path/'claim.png', tmp_path/'bomb.png']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150*1024


def test_damage_of_any_kind_never_raises(dirty):
    "Bytes changed, cut and added at random: a decoded photo, or a reason"
    from catdog.errors import DataError
    from catdog.photos.decode import decode_photo
    rng = np.random.default_rng(0)
    paths = [p for p in sorted(dirty.rglob('*.*')) if p.suffix in ('.jpg', '.png', '.gif') and 'bomb' not in p.name]
    files = [p.read_bytes() for p in paths if p.stat().st_size > 2000][::3]
    kinds = set()
    for i in range(300):
        data = bytearray(files[i%len(files)])
        for _ in range(rng.integers(1, 4)):
            at, length = rng.integers(0, len(data)), int(rng.integers(1, 64))
            if rng.random() < .3: del data[at+1:at+length*9]
            else: data[at:at+length] = rng.bytes(length)
        try: assert decode_photo(bytes(data)).image.width <= MAX_PIXELS
        except DataError as error: kinds.add(str(error).split(':')[0])
    assert {'truncated', 'corrupt scan data'} <= kinds


def test_unknown_source_names_the_nearest():
    done = catdog('audit', 'dogcats')
    assert done.returncode == 2 and "did you mean 'dogscats'?" in done.stderr and 'Traceback' not in done.stderr


SHORTCUTS = {  # What is done to the photos of one class, and the properties that tell it then
    'size': (dict(size=(240, 180)), {'width and height'}), 'shape': (dict(size=(90, 190)), {'width and height', 'width over height'}),
    'format': (dict(suffix='.png'), {'format', 'camera', 'compression'}), 'quality': (dict(quality=40), {'compression'}),
    'progressive': (dict(progressive=True), {'compression'}), 'brightness': (dict(dim=5), {'brightness and contrast'}),
    'camera': (dict(model='X-Ray 2000'), {'camera'}), 'colour': (dict(light=(1, .9, .7)), {'mean colour'}), 'nothing': ({}, set())}


@pytest.fixture(scope='module')
def drawn():
    from catdog.photos.sample import draw_picture
    return [draw_picture('cat', number).resize((120, 90)) for number in range(60)]


@pytest.mark.parametrize('planted', SHORTCUTS)
def test_a_class_that_is_told_without_looking_is_named(planted, drawn, tmp_path):
    from catdog.photos.card import describe_shortcuts, find_shortcuts
    from catdog.photos.workers import inspect_photo
    (change, telling), rows = SHORTCUTS[planted], []
    for number, photo in enumerate(drawn):
        label = ('healthy', 'ill', 'recovered')[number % 3]
        done = change if label == 'ill' else {}
        path, exif = tmp_path/f"{number}{done.get('suffix', '.jpg')}", photo.getexif()
        exif[271], exif[272] = 'Maker', done.get('model', f'C{number % 4}')
        saved = {name: done[name] for name in ('quality', 'progressive') if name in done}
        lit = np.uint8(np.asarray(photo)*np.float32(done.get('light', (1, 1, 1)))/done.get('dim', 1))
        Image.fromarray(lit).resize(done.get('size', photo.size)).save(path, exif=exif, **saved)
        rows.append(dict(path=str(path), label=label, **inspect_photo(path)))
    said = describe_shortcuts(find_shortcuts(pd.DataFrame(rows)))
    assert {line.partition(' alone predicts')[0] for line in said} == telling
    assert all("'ill'" in line for line in said), said


def test_a_set_too_small_to_ask_has_no_shortcut(tmp_path):
    from catdog.photos.card import describe_shortcuts, find_shortcuts
    few = pd.DataFrame(dict(path=['a.jpg', 'b.png'], label=['a', 'b'], sha256=['1', '2'], status='ok', note='',
        width=9, height=9, thumbnail=''))
    assert describe_shortcuts(find_shortcuts(few)) == []
