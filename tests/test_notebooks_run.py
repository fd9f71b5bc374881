"""Every numbered notebook runs from top to bottom, in a process of its own."""
import json
import subprocess
import sys

import pytest
from conftest import ROOT

# Loads what most notebooks load, none of it catdog's own, and forks a process that runs a notebook for each line that it reads
SERVER = """
import atexit, importlib, json, os, signal, sys, threading
from contextlib import suppress
for name in ('torch', 'torchvision', 'timm', 'pandas', 'scipy.stats', 'sklearn.linear_model', 'matplotlib.pyplot', 'fastai.learner',
    'onnxruntime', 'pydantic', 'nbdev.test'):
    with suppress(ImportError): importlib.import_module(name)
for line in sys.stdin:
    name, log = json.loads(line)
    pid = os.fork()
    if not pid: break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
else: sys.exit()
signal.alarm(600)    # which ends it, and is the answer
for number, place in enumerate((os.open(os.devnull, os.O_RDONLY), *2*[os.open(log, os.O_WRONLY | os.O_CREAT)])): os.dup2(place, number)
from nbdev.test import test_nb
ok, _ = test_nb(f'nbs/{name}')
threading._shutdown()
atexit._run_exitfuncs()
sys.stdout.flush()
os._exit(not ok)     # as Python ends, but that libraries do not wait for threads they started before the fork
"""


@pytest.fixture(scope='module')
def server():
    with subprocess.Popen([sys.executable, '-c', SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize('name', sorted(p.name for p in (ROOT/'nbs').glob('[0-9]*.ipynb')))
def test_notebook_runs(name, server, tmp_path):
    log = tmp_path/'log.txt'
    server.stdin.write(json.dumps([name, str(log)])+'\n')
    server.stdin.flush()
    assert server.stdout.readline() == '0\n', log.read_text()[-3000:]
