"""`catdog lab`: copies of one's own, never written over, in which a path means what it means to the command."""
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from urllib.parse import urlsplit

import psutil
from conftest import BIN, words_of


def wait_for(address, seconds=30):
    "Until something listens there: the address is named a moment before"
    place, end = urlsplit(address), time.monotonic()+seconds
    while True:
        try: return socket.create_connection((place.hostname, place.port), 1).close()
        except OSError:
            if time.monotonic() > end: raise
            time.sleep(.2)


def start_kernel(address):
    "Open a notebook as JupyterLab does"
    wait_for(address)
    asked = dict(path='train.ipynb', name='train.ipynb', type='notebook', kernel=dict(name='python3'))
    headers = {'Authorization': 'token abc', 'Content-Type': 'application/json'}
    request = urllib.request.Request(f'{address}api/sessions', json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer: return json.load(answer)['kernel']['id']


def kernel_folder(process, kernel):
    "Where a kernel works"
    end = time.monotonic()+120
    while time.monotonic() < end:
        for child in process.children(recursive=True):
            if kernel in words_of(child): return child.cwd()
        time.sleep(.2)


def test_copies_are_ones_own_and_paths_start_where_the_command_was_given(tmp_path):
    mine = tmp_path/'notebooks'/'explore.ipynb'
    mine.parent.mkdir()
    mine.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    places = {name: str(tmp_path/name) for name in ('JUPYTER_CONFIG_DIR', 'JUPYTER_RUNTIME_DIR', 'IPYTHONDIR')}
    command = [BIN/'catdog', 'lab', 'notebooks', '--no-browser', '--port', '0', '--allow-root', '--IdentityProvider.token=abc']
    lab = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **places}, stderr=subprocess.PIPE, text=True)
    said = []
    for line in lab.stderr:
        said.append(line)
        found = re.search(r'http://(127\.0\.0\.1|localhost):\d+/', line)
        if found: break
    try:
        kernel = start_kernel(found[0])
        assert kernel_folder(psutil.Process(lab.pid), kernel) == str(tmp_path)
    finally:
        for child in psutil.Process(lab.pid).children(): child.send_signal(signal.SIGTERM)
        lab.communicate(timeout=30)
    assert 'yours, kept as they are: explore.ipynb' in ''.join(said) and '"cells": []' in mine.read_text()
    assert {path.name for path in mine.parent.glob('*.ipynb')} >= {'train.ipynb', 'explore.ipynb', 'compare.ipynb'}
