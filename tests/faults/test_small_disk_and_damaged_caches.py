"A disk that is full and caches that are damaged: one line that says so, and nothing lost."
import os
import resource
import shutil
import signal
import sqlite3
import subprocess

import pandas as pd
import pytest
from conftest import TINY, catdog, options

from catdog.files import making, write_atomically
from catdog.photos.audit import AuditCache, audit_photos

LONG = os.environ.get('CATDOG_FAULTS') == 'long'


def small_files(size):
    "For `preexec_fn`: no file may be larger than `size` bytes, as on a disk that is full"
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return limit


@pytest.fixture
def small_disk():
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_what_was_there(tmp_path, small_disk):
    write_atomically(tmp_path/'run.json', b'first')
    with pytest.raises(OSError, match='run.json'): write_atomically(tmp_path/'run.json', bytes(200_000))
    with pytest.raises(OSError):
        with making(tmp_path/'pets') as folder: (folder/'large').write_bytes(bytes(200_000))
    assert [p.name for p in tmp_path.iterdir()] == ['run.json'] and (tmp_path/'run.json').read_bytes() == b'first'


def test_training_on_a_full_disk_says_so(pets, tmp_path):
    env = {**os.environ, 'CATDOG_CACHE': str(tmp_path/'cache')}
    command = [*options({**TINY, 'data': pets, 'runs': tmp_path/'runs'})]
    full = catdog('train', *command, env=env, preexec_fn=small_files(300_000))
    assert full.returncode and 'Traceback' not in full.stderr, full.stderr[-2000:]
    done = catdog('train', *command, env=env)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path, pets):
    "As /dev/stdout is: `catdog audit --json /dev/stdout | ...`"
    os.mkfifo(tmp_path/'pipe')
    with subprocess.Popen(['cat', tmp_path/'pipe'], stdout=subprocess.PIPE) as reader:
        write_atomically(tmp_path/'pipe', b'all of it')
        assert reader.communicate(timeout=20)[0] == b'all of it'
    assert [path.name for path in tmp_path.iterdir()] == ['pipe'] and (tmp_path/'pipe').is_fifo()
    done = catdog('verdict', tmp_path/'pipe', 'keep', '--review', tmp_path/'review.csv', timeout=60)
    assert done.returncode == 2 and 'is no plain file' in done.stderr, done.stderr


def damaged(path, how):
    "A file flipped in the middle, cut or emptied"
    data = bytearray(path.read_bytes())
    if how == 'flipped' and data: data[len(data)//2] ^= 0xff
    path.write_bytes(data if how == 'flipped' else data[:len(data)//2] if how == 'cut' else b'')


@pytest.mark.parametrize('how', ['flipped', 'cut', 'emptied'] if LONG else ['cut'])
def test_damaged_caches_heal(pets, tmp_path, how):
    "Each file of the cache in turn in the long form, all at once in the short one"
    env = {**os.environ, 'CATDOG_CACHE': str(tmp_path/'cache')}
    first = catdog('train', *options({**TINY, 'data': pets, 'runs': tmp_path/'runs'}), env=env)
    assert first.returncode == 0, first.stderr[-2000:]
    shutil.copytree(tmp_path/'cache', tmp_path/'whole')
    files = [p.relative_to(tmp_path/'whole') for p in sorted((tmp_path/'whole').rglob('*')) if p.is_file()]
    failed = []
    for i, names in enumerate([[name] for name in files] if LONG else [files]):
        shutil.rmtree(tmp_path/'cache')
        shutil.copytree(tmp_path/'whole', tmp_path/'cache')
        for name in names: damaged(tmp_path/'cache'/name, how)
        done = catdog('train', *options({**TINY, 'data': pets, 'runs': tmp_path/f'runs-{i}'}), env=env)
        if done.returncode or 'Traceback' in done.stderr: failed.append((names, done.stderr[-500:]))
    assert not failed, failed


CHANGES = ["dhash = 'no number'", 'width = 7', "thumbnail = 'AAAA'", "status = 'good'", "dhash = cast(x'ffff' as text)", "mark = ''"]


@pytest.mark.parametrize('change', CHANGES)
def test_a_changed_letter_in_the_audit_is_noticed(pets, tmp_path, change):
    "The photo is looked at again, whatever became of what is kept of it"
    cache, photos = AuditCache(tmp_path/'audit.sqlite'), pd.DataFrame(dict(path=sorted(pets.rglob('*.jpg'))[:4]))
    first = audit_photos(photos, cache=cache)
    with sqlite3.connect(cache.file) as db: db.execute(f'update photos set {change}')
    pd.testing.assert_frame_equal(audit_photos(photos, cache=cache), first)
    with sqlite3.connect(cache.file) as db: db.execute(f"update files set sha256 = '{'0'*64}'")
    assert set(cache.contents([str(path) for path in photos.path]).values()) == set(first.sha256)


@pytest.fixture
def disk(tmp_path):
    "A function that makes a disk of so many bytes, where this process may"
    made = []
    def make(size):
        place = tmp_path/f'disk-{size}'
        place.mkdir()
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', place], capture_output=True)
        if done.returncode: pytest.skip('disks of a size cannot be mounted here')
        made.append(place)
        return place
    yield make
    for place in made: subprocess.run(['umount', '--lazy', place], check=True)


def fill(place):
    "Write until nothing more goes in"
    with open(place/'full', 'wb', buffering=0) as file:
        try:
            while file.write(bytes(4096)): pass
        except OSError: pass


def plain(done, also=0):
    "Whether a command ended without a traceback, and with a line of its own where it failed; another exit status that is no failure"
    assert 'Traceback' not in done.stderr and 'warn(' not in done.stderr, done.stderr[-2000:]
    assert done.returncode in (0, also) or len([line for line in done.stderr.splitlines() if line.startswith('catdog: ')]) == 1, done.stderr
    return done


def test_a_home_folder_that_is_none(pets, runs, tmp_path):
    "What needs the cache says in one line how to name another; what needs none works"
    env = {name: value for name, value in os.environ.items() if name != 'CATDOG_CACHE'} | dict(HOME='/dev/null/home')
    for command in (['audit', pets], ['train', *options({**TINY, 'data': pets, 'runs': tmp_path/'runs'})]):
        done = plain(catdog(*command, env=env))
        assert done.returncode == 2 and 'name another one in CATDOG_CACHE' in done.stderr, done.stderr
    assert plain(catdog('predict', next(runs.glob('test_resnet*')), pets/'cat'/'cat.0.jpg', env=env)).returncode == 0


@pytest.mark.skipif(not LONG, reason='in the long form')
@pytest.mark.parametrize('what', ['HOME', 'TMPDIR', 'CATDOG_CACHE', 'all'])
@pytest.mark.parametrize('size', [1 << 16, 2 << 20])
def test_every_command_on_a_full_disk(pets, runs, tmp_path, disk, what, size):
    place, model = disk(size), next(runs.glob('test_resnet*'))
    if size < 1 << 20: fill(place)
    names = ['HOME', 'TMPDIR', 'CATDOG_CACHE'] if what == 'all' else [what]
    env = {**os.environ, **{name: str(place) for name in names}}
    tiny = {**TINY, 'data': pets, 'runs': tmp_path/'runs'}
    commands = [['audit', pets], ['audit', 'sample'], ['train', *options(tiny)], ['predict', model, pets/'cat'],
        ['evaluate', model, '--cost'],
        ['compare', runs, '--out', tmp_path/'report'], ['choose', runs],
        ['sweep', *(f'{name}={value}' for name, value in {**tiny, 'seed': 7}.items())]]
    undecided = dict(choose=3)           # the photos cannot say, which is an answer
    for command in commands: plain(catdog(*command, env=env), undecided.get(command[0], 0))
    again = {name: value for name, value in env.items() if name not in names} | dict(CATDOG_CACHE=str(tmp_path/'cache'), HOME=str(tmp_path))
    assert plain(catdog('train', *options(tiny), env=again)).returncode == 0


READERS = {'predictions.parquet': [0], 'photos.parquet': [1], 'model.safetensors': [2, 3], 'model.onnx': [3]}     # Which of them notice


@pytest.mark.parametrize('name', READERS)
def test_a_flipped_byte_of_a_run_is_named_by_whoever_reads_it(runs, pets, tmp_path, name):
    "Of many such bytes a reader would notice nothing, and answer differently"
    from catdog.deploy.predict import Predictor
    from catdog.models.backbone import load_model
    from catdog.training.run import Run
    folder = shutil.copytree(next(runs.glob('test_resnet*')), tmp_path/'run')
    readers = [lambda: Run(folder).predictions, lambda: Run(folder).photos, lambda: load_model(folder/'model.safetensors'),
        lambda: Predictor(folder)]
    data = bytearray((folder/name).read_bytes())
    data[len(data)*2//3] ^= 1
    (folder/name).write_bytes(data)
    named = []
    for number, read in enumerate(readers):
        try: read()
        except ValueError as error:
            assert f'{folder/name} is not what its run left' in str(error), error
            named.append(number)
    assert named == READERS[name]
    assert 'changed after the run had ended' in catdog('choose', tmp_path).stderr
