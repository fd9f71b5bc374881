"An address that carries a key: the photos are fetched, and the key is written down nowhere."
import functools
import http.server
import os
import shutil
import threading

import pytest
from conftest import TINY, catdog, options

from catdog.photos.sample import draw_sample

KEY, USER, PASSWORD = 'c0ffee5ecret', 'jane-the-user', 'hunter2hunter2'


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture
def address(pets, tmp_path):
    "The photos as an archive at a signed address with a user and a password"
    folder = tmp_path/'served'
    shutil.make_archive(str(folder/'pets'), 'zip', pets)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://{USER}:{PASSWORD}@127.0.0.1:{server.server_port}/pets.zip?X-Amz-Signature={KEY}&Expires=99'
    server.shutdown()
    server.server_close()


def traces(*folders):
    "Files and folders whose names or bytes hold a part of the key"
    found = []
    for folder in folders:
        for path in folder.rglob('*'):
            inside = path.read_bytes() if path.is_file() and not path.is_symlink() else b''
            found += [(path, secret) for secret in (KEY, USER, PASSWORD) if secret in str(path) or secret.encode() in inside]
    return found


@pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='in the long form')
def test_another_test_set_of_a_signed_address_keeps_no_key(address, runs, tmp_path):
    "Neither where it is tested on, nor where none of its photos is new"
    shutil.copytree(next(runs.glob('test_resnet*')), tmp_path/'run')
    shutil.make_archive(str(tmp_path/'served'/'new'), 'zip', draw_sample(tmp_path/'new', n=6, seed=9))
    env = {**os.environ, 'CATDOG_CACHE': str(tmp_path/'cache')}
    (tmp_path/'cache').mkdir()
    done = catdog('evaluate', tmp_path/'run', '--also', address.replace('pets.zip', 'new.zip'), env=env)
    met = catdog('evaluate', tmp_path/'run', '--also', address, env=env)
    assert done.returncode == 0 and 'on 6 test photos of http://' in ' '.join(done.stderr.split()), done.stderr
    assert met.returncode == 1 and 'has no photo that is new' in ' '.join(met.stderr.split()), met.stderr
    assert not [secret for secret in (KEY, USER, PASSWORD) if secret in done.stdout+done.stderr+met.stderr]
    assert traces(tmp_path/'run', tmp_path/'cache') == []


def test_a_run_of_a_signed_address_keeps_no_key(address, tmp_path):
    "Neither its name, run.json, notebook, cache, Weights & Biases nor what the command says"
    places = dict(CATDOG_CACHE=str(tmp_path/'cache'), HOME=str(tmp_path/'home'), TMPDIR=str(tmp_path/'tmp'))
    for place in places.values(): os.mkdir(place)
    env = {**os.environ, **places}
    done = catdog('train', *options({**TINY, 'data': address, 'runs': tmp_path/'runs', 'wandb': 'offline'}), env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    again = catdog('train', *options({**TINY, 'data': address.replace(KEY, 'signedanew'), 'runs': tmp_path/'runs'}), env=env)
    assert again.returncode == 0 and 'finished already' in again.stderr
    audited = catdog('audit', address, '--report', tmp_path/'card', env=env)
    swept = catdog('sweep', f'data="{address}"', 'arch=test_resnet', f'runs={tmp_path/"runs"}', '--dry-run', env=env)
    gone = catdog('audit', address.replace('pets.zip', 'gone.zip'), env=env)
    assert (audited.returncode, swept.returncode, gone.returncode) == (0, 0, 2), audited.stderr+swept.stderr
    said = ''.join(one.stdout+one.stderr for one in (done, again, audited, swept, gone))
    assert not [secret for secret in (KEY, USER, PASSWORD) if secret in said], said
    assert list((tmp_path/'runs').glob('*/wandb/offline-run-*/*.wandb'))
    assert traces(*(tmp_path/name for name in ('runs', 'cache', 'card', 'home', 'tmp'))) == []
