"Ctrl-C, once or twice, ends every command with one line that says where it goes on."
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import BIN, TINY, options, take_interrupts

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='signals are POSIX')


def lines_of(command, presses, begun, cwd, stdin=None, typed=None):
    "What a command says after Ctrl-C, and what is typed then, and how it ends; its helpers are gone then"
    process = subprocess.Popen([str(word) for word in command], stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, cwd=cwd, start_new_session=True, preexec_fn=take_interrupts)
    deadline = time.monotonic()+120
    while not begun(process) and process.poll() is None and time.monotonic() < deadline: time.sleep(.05)
    assert process.poll() is None, process.stderr.read()[-2000:]
    helpers = psutil.Process(process.pid).children(recursive=True)
    for _ in range(presses):
        try: os.killpg(process.pid, signal.SIGINT)      # a terminal tells the whole group
        except ProcessLookupError: pass
        time.sleep(.3)
    _, said = process.communicate(typed, timeout=60)
    _, alive = psutil.wait_procs(helpers, timeout=60)
    assert not alive, [one.cmdline() for one in alive]
    return process.returncode, said


def after(seconds):
    "Some seconds after the start"
    started = time.monotonic()
    return lambda process: time.monotonic()-started > seconds


def has_children(process):
    return bool(psutil.Process(process.pid).children())


def has_a_server(process):
    "One of its helpers listens"
    connections = []
    for helper in psutil.Process(process.pid).children(recursive=True): connections += helper.net_connections()
    listens = any(connection.status == psutil.CONN_LISTEN for connection in connections)
    if listens: time.sleep(3)      # until it takes signals in its own way
    return listens


def has_loaded(name):
    "A package is being imported: the command is at work"
    def begun(process):
        try: return f'/{name}/' in (open(f'/proc/{process.pid}/maps').read())
        except OSError: return False
    return begun


@pytest.fixture(scope='module')
def many(tmp_path_factory, pets):
    "Photos enough to be at them for a while"
    folder = tmp_path_factory.mktemp('many')
    for label in ('cat', 'dog'):
        (folder/label).mkdir()
        for photo in (pets/label).glob('*.jpg'):
            data = photo.read_bytes()
            for i in range(100): (folder/label/f'{photo.stem}-{i}.jpg').write_bytes(data[:-2]+bytes([i, i//2])*8+data[-2:])
    return folder


SHORT = [('audit', 2), ('compare', 1), ('train', 2), ('sample', 1)]
LASTING = ['sample', 'lab', 'audit', 'predict', 'compare', 'train', 'sweep', 'find', 'evaluate', 'export', 'serve', 'review',
    'doubtful', 'doctor']
QUICK = ['choose', 'next', 'archs', 'page', 'push', 'drift', 'verdict']     # met while they load what they need
WHOLE = [(name, presses) for name in [*LASTING, *QUICK] for presses in (1, 2)]


@pytest.mark.parametrize('name, presses', WHOLE if os.environ.get('CATDOG_FAULTS') == 'long' else SHORT)
def test_a_command_ends_with_one_line(name, presses, many, pets, runs, tmp_path):
    tiny = {**TINY, 'epochs': 400, 'data': pets, 'runs': tmp_path/'runs'}
    model = next(runs.glob('test_resnet*'))
    commands = {
        'sample': (['sample', tmp_path/'drawn', '-n', 4000], has_children),
        'lab': (['lab', tmp_path/'mine', '--no-browser', '--allow-root'], has_a_server),
        'verdict': (['verdict', pets/'cat'/'cat.0.jpg', 'keep', '--review', tmp_path/'review.csv'], has_loaded('numpy')),
        'audit': (['audit', many], has_children), 'compare': (['compare', runs, '--out', tmp_path/'report'], has_children),
        'train': (['train', *options(tiny)], lambda process: list(tmp_path.glob('runs/*/checkpoint/state.safetensors'))),
        'sweep': (['sweep', *(f'{key}={value}' for key, value in tiny.items())], lambda process: list(tmp_path.glob('runs/*/history.csv'))),
        'predict': (['predict', model, '-'], after(3)),
        'find': (
            ['find', pets, '--candidates', 'test_resnet,baseline', '--weights', 'none', '--runs', tmp_path/'runs'], has_loaded('torch')),
        'evaluate': (['evaluate', model, '--robustness'], has_loaded('torch')),
        'export': (['export', model, '-o', tmp_path/'out', '--formats', 'onnx-int8'], has_loaded('torch')),
        'serve': (['serve', model, '--port', 0], has_loaded('onnxruntime')),
        'review': (['review', pets, '--review', tmp_path/'review.csv'], has_children),
        'doubtful': (['doubtful', pets, '--review', tmp_path/'review.csv'], has_loaded('torch')),
        'doctor': (['doctor', '--device', 'cpu'], has_loaded('torch')),
        'choose': (['choose', runs], has_loaded('numpy')), 'next': (['next', runs], has_loaded('numpy')),
        'archs': (['archs', 'mobile'], has_loaded('numpy')), 'page': (['page', model, '-o', tmp_path/'out'], has_loaded('numpy')),
        'push': (['push', model, 'me/pets'], has_loaded('numpy')), 'drift': (['drift', tmp_path/'log', model], has_loaded('numpy'))}
    words, begun = commands[name]
    asks = subprocess.PIPE if name in ('predict', 'lab') else None
    status, said = lines_of([BIN/'catdog', *words], presses, begun, tmp_path, asks, 'y\n' if name == 'lab' else None)
    if name == 'lab': said = '\n'.join(line for line in said.splitlines() if line.startswith('catdog'))      # JupyterLab has its own words
    assert status == 130 and 'Traceback' not in said and 'Error' not in said, said
    told = [line for line in said.splitlines() if 'catdog: interrupted' in line or 'ended at once' in line or 'the same command' in line]
    assert len(told) == 1 and ('same command' in told[0]), said
    assert name != 'train' or re.search(r'from epoch \d+$', told[0]), said


@pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='waits for JupyterLab to have forgotten the question')
def test_a_question_that_was_answered_with_no_is_no_interrupt(tmp_path):
    "JupyterLab asks on a terminal only"
    keyboard, terminal = os.openpty()
    lab = subprocess.Popen([str(BIN/'catdog'), 'lab', 'mine', '--no-browser', '--allow-root'], cwd=tmp_path, stdin=terminal,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=take_interrupts)
    deadline = time.monotonic()+60
    while not has_a_server(lab) and time.monotonic() < deadline: time.sleep(.2)
    os.killpg(lab.pid, signal.SIGINT)
    os.write(keyboard, b'n\n')
    time.sleep(17)
    assert lab.poll() is None                               # it goes on, and is closed in its own way later
    for server in psutil.Process(lab.pid).children(): server.send_signal(signal.SIGTERM)
    _, said = lab.communicate(timeout=60)
    for end in (keyboard, terminal): os.close(end)
    assert lab.returncode == 0 and 'catdog: interrupted' not in said, said
