"""Whoever only uses a model installs the wheel alone and a handful of packages, and is told what the other commands need."""
import json
import re
import socket
import subprocess
import time
import urllib.request
import venv
from configparser import ConfigParser

import numpy as np
import pytest
from conftest import ROOT, catdog, run


@pytest.fixture(scope='module')
def bare(tmp_path_factory, wheel):
    "An environment of `runtime_requirements` and the wheel, and nothing else"
    settings = ConfigParser(delimiters=['='], interpolation=None)
    settings.read(ROOT/'settings.ini')
    folder = tmp_path_factory.mktemp('bare')/'venv'
    venv.create(folder, with_pip=True)
    needed = settings['DEFAULT']['runtime_requirements'].split()
    done = run(folder/'bin'/'pip', 'install', '--quiet', '--no-compile', *needed, timeout=600)
    if done.returncode: pytest.skip(f'the package index is not reached: {done.stderr.splitlines()[-1][:200]}')
    done = run(folder/'bin'/'pip', 'install', '--quiet', '--no-deps', '--force-reinstall', wheel)
    assert done.returncode == 0, done.stderr
    return folder


def alone(bare, *arguments, **more):
    "The command of the bare environment, away from the checkout"
    return run(bare/'bin'/'catdog', *arguments, cwd=bare, env={'PATH': str(bare/'bin'), 'HOME': str(bare)}, **more)


def test_it_is_small_and_predicts(bare, runs, pets):
    packages = [path.name for path in next((bare/'lib').glob('python3*/site-packages')).iterdir()]
    assert not {'torch', 'timm', 'fastai', 'pandas', 'scipy'} & set(packages)
    model, photos = next(runs.glob('test_resnet*'))/'model.onnx', sorted((pets/'cat').iterdir())[:8]
    done = alone(bare, 'predict', model, *photos, '--json')
    assert done.returncode == 0, done.stderr
    for one, other in zip(done.stdout.splitlines(), catdog('predict', model, *photos, '--json').stdout.splitlines()):
        assert np.isclose(json.loads(one)['probabilities']['cat'], json.loads(other)['probabilities']['cat'], atol=1e-3)


def test_it_serves(bare, runs, pets):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [bare/'bin'/'catdog', 'serve', next(runs.glob('test_resnet*'))/'model.onnx', '--port', port]
    process = subprocess.Popen([str(word) for word in command], cwd=bare, env={'PATH': str(bare/'bin')}, stderr=subprocess.PIPE, text=True)
    try:
        until, photo = time.monotonic()+120, next((pets/'dog').iterdir()).read_bytes()
        while True:
            asked = urllib.request.Request(f'http://127.0.0.1:{port}/predict', data=photo)
            try: answer = urllib.request.urlopen(asked, timeout=10)
            except OSError:
                assert time.monotonic() < until and process.poll() is None, process.communicate()
                time.sleep(.05)
            else: break
        assert json.load(answer)['photos'][0]['label'] in ('cat', 'dog')
    finally:
        process.terminate()
        process.communicate(timeout=30)


WANTING = {'train': ['--arch', 'resnet18'], 'compare': ['runs'], 'sweep': ['arch=baseline'], 'audit': ['sample'],
    'export': ['run', '-o', 'out']}


@pytest.mark.parametrize('command', WANTING)
def test_a_command_says_what_it_lacks(bare, command, wheel):
    done = alone(bare, command, *WANTING[command])
    assert done.returncode == 2 and 'Traceback' not in done.stderr, done.stderr
    assert re.search(rf"pip install 'catdog-timm(\[\w+\])? @ {re.escape(wheel.as_uri())}'", done.stderr), done.stderr
