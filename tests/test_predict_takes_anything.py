"""Whatever a person points `catdog predict` at is answered: a row a file, in order, and never a wait without end."""
import csv
import io
import json
import os
import signal
import struct
import subprocess
import time

import pytest
from conftest import BIN, catdog, take_interrupts


@pytest.fixture(scope='module')
def model(runs):
    return next(runs.glob('test_resnet*'))


def rows(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_never_ends_costs_a_row(model, pets, tmp_path):
    os.mkfifo(tmp_path/'pipe.jpg')
    with open(tmp_path/'film.jpg', 'wb') as file: file.truncate(6*10**9)
    whole = io.BytesIO()
    from catdog.photos.sample import draw_picture
    draw_picture('cat', 3).save(whole, 'gif')
    (tmp_path/'cut.gif').write_bytes(whole.getvalue()[:len(whole.getvalue())//2])
    named = [tmp_path/'pipe.jpg', '/dev/zero', tmp_path/'film.jpg', tmp_path/'cut.gif', tmp_path/'none.jpg', pets/'cat'/'cat.0.jpg']
    done = catdog('predict', model, *named, '--json', timeout=60)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    told = rows(done)
    assert [row['path'] for row in told] == [str(path) for path in named]
    for row, said in zip(told, ('a pipe', 'a device', '6,000 MB', 'truncated', 'No such file')): assert said in row['error']
    assert told[-1]['label'] in ('cat', 'dog')


def test_names_of_any_kind_take_a_row_and_the_rest_goes_on(model, pets, tmp_path):
    photo = (pets/'cat'/'cat.0.jpg').read_bytes()
    odd = b'/caf\xe9.jpg', b'/new\nline.jpg', b'/\x1b[2Jgone.jpg', '/\u202e猫 .jpg'.encode(), b'/-n'
    names = [os.fsencode(tmp_path)+name for name in odd]
    for name in names: open(name, 'wb').write(photo)
    done = catdog('predict', model, *map(os.fsdecode, names), errors='surrogateescape')
    assert done.returncode == 0 and len(done.stdout.splitlines()) == len(names), done.stderr
    assert '\x1b' not in done.stdout and r'new\nline' in done.stdout
    listed = catdog('predict', model, '-', '--json', input=f'a\0b.jpg\n\n{pets/"cat"/"cat.0.jpg"}\n')
    assert listed.returncode == 1 and [set(row) for row in rows(listed)][0] == {'path', 'error'} and rows(listed)[1]['label']
    endless = catdog('predict', model, '-', input='x'*10**6)
    assert endless.returncode == 2 and 'a line of more than 65,536 characters' in endless.stderr


def test_folders_lists_and_tables(model, pets):
    folder = catdog('predict', model, pets, '--json')
    assert folder.returncode == 0 and len(rows(folder)) == 60 and 'photos a second' in folder.stderr
    listed = catdog('predict', model, '-', '--csv', input='\n'.join(row['path'] for row in rows(folder))+'\n')
    table = list(csv.DictReader(io.StringIO(listed.stdout)))
    assert [row['path'] for row in table] == [row['path'] for row in rows(folder)]
    for one, other in zip(table, rows(folder)): assert abs(float(one['p_cat'])-other['probabilities']['cat']) < 1e-6
    single = catdog('predict', model, pets, '--json', '--batch-size', 1)
    for one, other in zip(rows(single), rows(folder)): assert abs(one['probabilities']['cat']-other['probabilities']['cat']) < 2e-3


def test_a_file_named_after_a_switch_is_written_and_none_is_lost(model, pets, tmp_path):
    photo, out = pets/'cat'/'cat.0.jpg', tmp_path/'out.csv'
    for words in (['--csv', out], [f'--csv={out}'], ['-o', out]):
        done = catdog('predict', model, photo, *words)
        assert done.returncode == 0 and done.stdout.strip() == str(out), done.stderr
        assert [row['path'] for row in csv.DictReader(io.StringIO(out.read_text()))] == [str(photo)]
        if words != ['-o', out]: out.unlink()
    before = out.read_text()
    kept = catdog('predict', model, pets, '--csv', out)
    assert kept.returncode == 2 and 'out.csv is there already: name another place' in kept.stderr and out.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ['out.csv']


def test_what_was_labelled_before_an_interrupt_stays(model, pets, tmp_path):
    command = [str(word) for word in (BIN/'catdog', 'predict', model, '-', '-o', tmp_path/'answers.csv')]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=take_interrupts)
    process.stdin.write(f"{pets/'cat'/'cat.0.jpg'}\n"*400)
    process.stdin.flush()                                   # and it waits for more
    end = time.monotonic()+60
    while not any(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < end: time.sleep(.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    part, = tmp_path.iterdir()                              # neither the name of the whole nor a leftover
    kept = list(csv.DictReader(io.StringIO(part.read_text())))
    assert process.returncode == 130 and part.name == 'answers.part.csv', said
    assert f'labelled so far: {len(kept)} photos, in {part}; the same command labels all photos again' in said
    assert len(kept) > 20 and all(row['label'] in ('cat', 'dog') for row in kept)


def test_what_computes_is_asked_for_by_name_and_said(model, pets):
    photo = pets/'cat'/'cat.0.jpg'
    done = catdog('predict', model, photo, '--provider', 'CPUExecutionProvider')
    assert done.returncode == 0 and 'by onnxruntime (CPUExecutionProvider)' in done.stderr
    weights = catdog('predict', model, photo, '--device', 'tpu:1')
    assert weights.returncode == 2 and "device = 'tpu:1' cannot be used" in weights.stderr and 'here: ' in weights.stderr, weights.stderr
    for words in (['--device', 'tpu'], ['--provider', 'TPUExecutionProvider'], ['--device', 'cpu', '--provider', 'CPUExecutionProvider']):
        refused = catdog('predict', model/'model.onnx', photo, *words)
        said = 'not both' if len(words) == 4 else f"'{words[1]}' cannot run an ONNX file here: onnxruntime has "
        assert refused.returncode == 2 and said in refused.stderr and 'Traceback' not in refused.stderr, refused.stderr


def test_precision_that_was_not_shown_is_not_promised(model, pets):
    done = catdog('predict', model, pets/'cat'/'cat.0.jpg', '--precision', .999)
    assert done.returncode == 2 and 'cannot promise a precision of 0.999' in done.stderr


def of_another_make(path, about):
    "A weights file that says something else of itself"
    head = json.dumps({'__metadata__': {'catdog': about}}).encode()
    path.write_bytes(struct.pack('<Q', len(head))+head)
    return path


GOOD = dict(format=1, arch='test_resnet', classes=['cat', 'dog'], preprocessing=dict(size=48))


STRANGE = [   # What a file says of itself, or what of it differs from a good one; and what is said of that
    ('[]', 'does not say its classes'), ('{', 'is no JSON'),
    (dict(classes='cat'), 'no two classes'), (dict(classes=[1, 2]), 'no two classes'),
    (dict(preprocessing=dict(size='48')), 'size = 48'), (dict(preprocessing=dict(std=[0, 1, 1])), 'std'),
    (dict(arch=7), "not timm's own"), (dict(), 'cannot be read as a model'), (dict(arch='resnet81'), 'cannot be read as a model')]


@pytest.mark.parametrize('about, said', STRANGE)
def test_metadata_of_another_make(tmp_path, pets, about, said):
    text = about if isinstance(about, str) else json.dumps({**GOOD, **about})
    done = catdog('predict', of_another_make(tmp_path/'model.safetensors', text), pets/'cat'/'cat.0.jpg')
    assert done.returncode == 2 and said in done.stderr and 'Traceback' not in done.stderr, done.stderr


@pytest.mark.parametrize('arch', ['hf-hub:someone/x', 'hf_hub:someone/x', 'local-dir:/etc'])
def test_no_network_without_being_asked(tmp_path, pets, arch):
    model = of_another_make(tmp_path/'model.safetensors', json.dumps({**GOOD, 'arch': arch}))
    done = catdog('predict', model, pets/'cat'/'cat.0.jpg', env={**os.environ, 'HF_HUB_OFFLINE': '0'})
    assert done.returncode == 2 and 'which predicting never does' in done.stderr


def test_photos_of_a_bucket(model, pets, bucket):
    "A folder, a pattern and a photo of an object store, and one that is not there"
    for photo in sorted((pets/'cat').iterdir())[:3]: bucket.put_file(str(photo), f'pets/in/{photo.name}')
    bucket.pipe_file('pets/in/notes.txt', b'meow')
    here = rows(catdog('predict', model, *sorted((pets/'cat').iterdir())[:3], '--json'))
    for named in (['s3://pets/in'], ['s3://pets/in/*.jpg']):
        told = rows(catdog('predict', model, *named, '--json'))
        assert [row['probabilities'] for row in told] == [row['probabilities'] for row in here]
        assert all(row['path'].startswith('s3://pets/in/') for row in told)
    done = catdog('predict', model, 's3://pets/none.jpg', 'nowhere://x/y.jpg', '--json')
    assert done.returncode == 1 and all('error' in row for row in rows(done)) and 'Traceback' not in done.stderr
