"""What the tests share: the checkout, its commands, a small drawn data set, and an environment that reaches no network."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent/'shared'
BIN = Path(sys.executable).parent

TINY = dict(arch='test_resnet', weights='none', image_size=48, epochs=1, batch_size=16, precision='fp32')   # a run of seconds


@pytest.fixture(scope='session', autouse=True)
def environment(tmp_path_factory):
    "A cache of the tests' own, and no Hub: what is tested is the road that needs none"
    os.environ.update(CATDOG_CACHE=str(tmp_path_factory.mktemp('cache')), HF_HUB_OFFLINE='1', MPLBACKEND='agg')
    if 'PYTEST_XDIST_WORKER' in os.environ: os.environ['OMP_NUM_THREADS'] = '1'   # the workers share the cores
    for name in ('WANDB_API_KEY', 'WANDB_MODE'): os.environ.pop(name, None)


@pytest.fixture(scope='session')
def pets(tmp_path_factory):
    "60 drawn photos as class folders"
    from catdog.photos.sample import draw_sample
    return draw_sample(tmp_path_factory.mktemp('data')/'pets', n=60, seed=3)


def run(*command, timeout=300, **kwargs):
    "Run a command; its output is text"
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout, **kwargs)


def catdog(*arguments, **kwargs):
    "The catdog command"
    return run(BIN/'catdog', *arguments, **kwargs)


def words_of(process):
    "The command line of one of psutil's processes; '' where it has ended meanwhile"
    try: return ' '.join(process.cmdline())
    except psutil.Error: return ''


def take_interrupts():
    "For `preexec_fn`: a shell that runs in the background has its children ignore Ctrl-C"
    signal.signal(signal.SIGINT, signal.default_int_handler)


def options(settings):
    "Settings as options of `catdog train`"
    return [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", value)]


def parameters(settings):
    "Settings as papermill's parameters"
    return [text for name, value in settings.items() for text in ('-p', name, value)]


@pytest.fixture(scope='session')
def runs(tmp_path_factory, pets):
    "Two finished runs of tiny networks"
    folder = tmp_path_factory.mktemp('runs')
    for arch in ('test_resnet', 'baseline'):
        done = catdog('train', *options({**TINY, 'arch': arch, 'data': pets, 'runs': folder}))
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='session')
def report(tmp_path_factory, runs):
    "The comparison of the two runs"
    out = tmp_path_factory.mktemp('report')
    done = catdog('compare', runs, '--out', out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    "The wheel of this checkout"
    out = tmp_path_factory.mktemp('dist')
    done = run(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--quiet', '--wheel-dir', out, ROOT)
    assert done.returncode == 0, done.stderr
    return next(out.glob('*.whl'))


@pytest.fixture
def page():
    "A page of headless Chromium"
    chromium = shutil.which('chromium') or shutil.which('google-chrome')
    if not chromium: pytest.skip('Chromium is not installed (Debian: apt-get install chromium)')
    from playwright.sync_api import sync_playwright
    quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
             '--disable-component-update', '--disable-sync']
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        yield browser.new_page(viewport=dict(width=1280, height=900))
        browser.close()


def render_site():
    "The rendered site of this checkout, made once a test run and left alone until a notebook changes"
    if sys.version_info < (3, 11): pytest.skip('smalldocs needs Python 3.11')
    from filelock import FileLock
    site = ROOT/'_docs'
    made_of = [*(ROOT/'nbs').glob('*'), ROOT/'_quarto.yml', ROOT/'scripts'/'docs.py']
    with FileLock(Path(tempfile.gettempdir())/f'{ROOT.parent.name}-{ROOT.name}-docs.lock'):
        if not (site/'index.html').exists() or (site/'index.html').stat().st_mtime < max(path.stat().st_mtime for path in made_of):
            done = run(sys.executable, ROOT/'scripts'/'docs.py', cwd=ROOT, timeout=600)
            assert done.returncode == 0, done.stdout+done.stderr
    return site


@pytest.fixture
def bucket():
    "An S3 server on loopback, empty but for the bucket `pets`"
    import urllib.request
    import s3fs
    from moto.server import ThreadedMotoServer
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    reset = urllib.request.Request(f'http://{host}:{port}/moto-api/reset', method='POST')
    urllib.request.urlopen(reset, timeout=30)   # its buckets outlive a server in one process
    settings = dict(AWS_ACCESS_KEY_ID='test', AWS_SECRET_ACCESS_KEY='test', AWS_DEFAULT_REGION='us-east-1',
                    AWS_ENDPOINT_URL=f'http://{host}:{port}')
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items(): patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        store = s3fs.S3FileSystem()
        store.mkdir('pets')
        yield store
    server.stop()
