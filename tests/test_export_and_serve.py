"""The chosen network where it is used: exported, weighed against the others, and served."""
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import BIN, ROOT, catdog, run


OPENVINO = ['openvino'] if find_spec('openvino') else []


@pytest.fixture(scope='module')
def copies(tmp_path_factory, runs):
    "The finished runs, to which candidates are added"
    import shutil
    return shutil.copytree(runs, tmp_path_factory.mktemp('exported')/'runs')


@pytest.fixture(scope='module')
def exported(copies, tmp_path_factory):
    "A run in the formats that can be run here"
    folder = tmp_path_factory.mktemp('out')
    done = catdog('export', next(copies.glob('test_resnet*')), '-o', folder/'out', '--formats', ','.join(['onnx', 'onnx-int8', *OPENVINO]))
    assert done.returncode == 0 and 'onnx-int8:' in done.stderr and 'from torch at most' in done.stderr, done.stderr
    return folder/'out'


def test_folder_stands_alone(exported, pets):
    "Its program agrees with the product, in a process that finds no catdog"
    photos = sorted((pets/'dog').iterdir())[:6]
    alone = run(sys.executable, '-P', exported/'predict.py', *photos, cwd='/', env={'PATH': os.environ['PATH']})
    assert alone.returncode == 0, alone.stderr
    ours = catdog('predict', exported, *photos, '--json')
    for one, other in zip(alone.stdout.splitlines(), ours.stdout.splitlines()):
        there, here = json.loads(one)['probabilities'], json.loads(other)['probabilities']
        assert max(abs(there[name]-here[name]) for name in here) < 5e-3
    assert 'catdog' not in re.findall(r'^(?:import|from) (\w+)', (exported/'predict.py').read_text(), re.MULTILINE)


def test_what_another_run_left_is_not_written_over(exported, copies):
    before = (exported/'model.onnx').read_bytes()
    refusals = {exported: 'which is not from an export of baseline', next(copies.glob('test_resnet*')): 'is the folder of a run'}
    for folder, words in refusals.items():
        done = catdog('export', next(copies.glob('baseline*')), '-o', folder)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    assert (exported/'model.onnx').read_bytes() == before


def test_formats_are_candidates(exported, copies):
    done = catdog('choose', copies, '--delta', 50, '--json')
    assert done.returncode in (0, 3), done.stderr
    names = [candidate['setup'] for candidate in json.loads(done.stdout)['candidates']]
    assert {'test_resnet float32', 'test_resnet int8', 'baseline', *(f'test_resnet {name}' for name in OPENVINO)} == set(names)


@pytest.mark.skipif(not OPENVINO, reason='openvino is not installed')
def test_openvino_answers_and_leaves_nothing_behind(exported, pets, tmp_path):
    photos = sorted((pets/'cat').iterdir())[:6]
    environment = {'HOME': str(tmp_path), 'PATH': str(BIN), 'PYTHONPATH': str(ROOT)}
    done = run(BIN/'catdog', 'predict', exported/'model.xml', *photos, '--json', env=environment)
    assert done.returncode == 0 and list(tmp_path.rglob('*')) == [], done.stderr
    for one, other in zip(done.stdout.splitlines(), catdog('predict', exported/'model.onnx', *photos, '--json').stdout.splitlines()):
        assert np.isclose(json.loads(one)['probabilities']['cat'], json.loads(other)['probabilities']['cat'], atol=.03)


@pytest.fixture(scope='module')
def server(exported):
    "A server on loopback, and the seconds until it was ready"
    import socket
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    command = [BIN/'catdog', 'serve', exported/'model.onnx', '--port', port, '--log', exported.parent/'log.jsonl']
    with open(exported.parent/'server.txt', 'w') as said: process = subprocess.Popen([str(word) for word in command], stderr=said)
    address = f'http://127.0.0.1:{port}'
    while time.monotonic() < start+60:
        try:
            if ask(address, '/ready')['status'] == 'ready': break
        except OSError: time.sleep(.05)
    yield address, process
    process.kill()
    process.wait()


def ask(address, path, data=None):
    with urllib.request.urlopen(urllib.request.Request(address+path, data=data), timeout=60) as answer: return json.load(answer)


def test_many_clients_get_their_own_answer(server, exported, pets):
    address, _ = server
    photos = sorted(pets.rglob('*.jpg'))[:32]
    expected = [json.loads(line)['probabilities'] for line in catdog('predict', exported, *photos, '--json').stdout.splitlines()]
    with ThreadPoolExecutor(64) as clients: told = list(clients.map(lambda photo: ask(address, '/predict', photo.read_bytes()), photos*4))
    for i, answer in enumerate(told): assert np.isclose(answer['photos'][0]['probabilities']['cat'], expected[i % 32]['cat'], atol=2e-3)
    assert ask(address, '/predict', b'meow')['photos'][0]['error'] == 'not an image: plain text'
    with urllib.request.urlopen(f'{address}/metrics') as answer: text = answer.read().decode()
    assert f'catdog_requests_total{{status="200"}} {len(told)+1}.0' in text and 'catdog_batch_photos_count' in text


def test_uploads_that_are_left_off_are_no_news(server, exported, pets):
    "They cost the others nothing, and the log no traceback"
    import socket
    address, _ = server
    photo = next(pets.rglob('*.jpg')).read_bytes()
    begun = f'POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: {len(photo)}\r\n\r\n'.encode()+photo[:100]
    for _ in range(20):
        with socket.create_connection(('127.0.0.1', int(address.rpartition(':')[2]))) as line: line.sendall(begun)
    assert ask(address, '/predict', photo)['photos'][0]['label'] in ('cat', 'dog')
    assert 'Traceback' not in (exported.parent/'server.txt').read_text()


def test_a_person_drops_a_photo(server, pets, page):
    address, _ = server
    page.goto(address)
    page.set_input_files('#file', str(pets/'cat'/'cat.0.jpg'))
    page.wait_for_selector('#shares tr')
    assert page.inner_text('#said') in ('cat', 'dog') and page.locator('#shares tr').count() == 2
    page.click('#where')
    page.wait_for_selector('#heat:not([hidden])')
    assert page.evaluate("document.getElementById('heat').width") == 7 and 'less probable' in page.inner_text('#hint')


def test_no_page_asks_another_host(server, page):
    address, _ = server
    asked = []
    page.on('request', lambda request: asked.append(request.url))
    for path in ('/', '/docs'):
        page.goto(address+path)
        page.wait_for_load_state('networkidle')
    assert 'POST /predict' in page.inner_text('main') and f'{address}/predict' in page.inner_text('pre >> nth=0')
    assert asked and all(url.startswith((address, 'data:')) for url in asked), asked
    for path in ('/', '/docs', '/drop.js', '/photo.js', '/photo.css', '/api.css', '/openapi.json'):
        with urllib.request.urlopen(address+path) as answer: text = answer.read().decode()
        assert not re.search(r'(https?:)?//[\w.-]+\.\w+', text.replace(address, '')), path
    assert ask(address, '/ready')['runs_on'].startswith('onnxruntime (')


def test_drift_fires_on_blurred_photos_alone(server, copies, exported, pets, tmp_path):
    "What a server logged of held-out photos is like the run's; of the same blurred it is not"
    from PIL import Image, ImageFilter
    address, _ = server
    log, own = exported.parent/'log.jsonl', next(path.parent for path in copies.glob('test_resnet*/photos.parquet'))
    def logged(data):
        log.write_text('')
        for photo in data: ask(address, '/predict', photo)
        assert not (set(json.loads(log.read_text().splitlines()[0]))-{'time', 'label', 'confidence', 'looks'})
        (tmp_path/'log.jsonl').write_text(log.read_text())
        return catdog('drift', tmp_path/'log.jsonl', own)
    from catdog.evaluation.formats import side_photos
    from catdog.training.run import Run
    held_out = [path for side in ('valid', 'test') for path in side_photos(Run(own), side).path]
    photos = [Image.open(path) for path in held_out]
    def encoded(photo):
        file = io.BytesIO()
        photo.save(file, 'jpeg', quality=95)
        return file.getvalue()
    same = logged([open(path, 'rb').read() for path in held_out]*2)
    assert same.returncode == 0 and 'look like those of the run' in same.stdout, same.stdout+same.stderr
    blurred = logged([encoded(photo.filter(ImageFilter.GaussianBlur(4))) for photo in photos]*2)
    assert blurred.returncode == 1 and 'do not look like' in blurred.stdout and 'fine -' in blurred.stdout, blurred.stdout+blurred.stderr


def test_a_signal_ends_it(server):
    _, process = server
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
