"""`catdog push` speaks to the Hub through its own client; what it sends is loaded by timm, and no photo is among it."""
import base64
import hashlib
import http.server
import json
import os
import re
import sys
import threading

import pytest
from conftest import catdog, run

TIMM = """
import json, sys, timm, torch
model = timm.create_model('hf-hub:someone/pets', pretrained=True).eval()
torch.manual_seed(0)
with torch.no_grad(): answer = model(torch.randn(2, 3, 48, 48))
print(json.dumps(dict(answer=answer.tolist(), classes=model.pretrained_cfg.get('label_names'), size=model.pretrained_cfg['input_size'])))
"""


PUSHES = """
import json, os, sys, urllib.request
from catdog.errors import ConfigError
from catdog.evaluation.share import push_run
from catdog.training.run import Run
for part in sys.argv[2:]:
    urllib.request.urlopen(os.environ['HF_ENDPOINT']+'/refuse', data=part.encode()).close()
    try: told = push_run(Run(sys.argv[1]), 'someone/pets')
    except ConfigError as error: told = f'refused: {error}'
    print(json.dumps(told))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    "A stand-in of the Hub on loopback: repositories made, files uploaded as they are or by LFS, a commit, and files given out"
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_): pass

    @property
    def store(self): return self.server.store

    def answer(self, body=b'', status=200, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {'Content-Length': str(len(data)), **headers}.items(): self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(data)

    def refused(self):
        "Whether this is the call that is to be refused, which is answered"
        refused = self.store['refuse'] and self.store['refuse'] in self.path
        if refused: self.answer(dict(error='you may not'), 403)
        return refused

    def body(self): return self.rfile.read(int(self.headers.get('Content-Length', 0)))

    def do_POST(self):
        data, here = self.body(), f'http://{self.headers["Host"]}'
        if self.path == '/refuse':
            self.store['refuse'] = data.decode()
            return self.answer()
        if self.refused(): return
        self.store['asked'].append((self.path, self.headers.get('Authorization')))
        if self.path == '/api/repos/create': return self.answer(dict(url=f"{here}/someone/pets", name='someone/pets', id='someone/pets'))
        if self.path == '/api/validate-yaml': return self.answer(dict(errors=[], warnings=[]))
        if '/preupload/' in self.path:
            def mode(path): return 'lfs' if path.endswith(('.safetensors', '.onnx')) else 'regular'
            files = [dict(path=file['path'], uploadMode=mode(file['path']), shouldIgnore=False) for file in json.loads(data)['files']]
            return self.answer(dict(files=files))
        if self.path.endswith('/info/lfs/objects/batch'):
            def where(oid): return dict(upload=dict(href=f'{here}/lfs/{oid}'))
            objects = [dict(oid=one['oid'], size=one['size'], actions=where(one['oid'])) for one in json.loads(data)['objects']]
            return self.answer(dict(transfer='basic', objects=objects))
        if '/commit/' in self.path:
            for line in map(json.loads, data.splitlines()): self.take(line['key'], line['value'])
            return self.answer(dict(commitUrl=f'{here}/someone/pets/commit/{"a"*40}', commitOid='a'*40, success=True))
        self.answer(dict(error='not known here'), 404)

    def take(self, kind, value):
        files = self.store['files']
        if kind == 'file': files[value['path']] = base64.b64decode(value['content'])
        if kind == 'lfsFile': files[value['path']] = self.store['objects'][value['oid']]

    def do_PUT(self):
        data = self.body()
        if self.refused(): return
        self.store['objects'][self.path.rpartition('/')[2]] = data
        self.answer()

    def do_GET(self):
        match = re.fullmatch('/someone/pets/resolve/([^/]+)/(.+)', self.path.partition('?')[0])
        there = self.store['refuse'] != '/repos/create'      # whose client looks whether it is there already
        if there and self.path.startswith('/api/models/someone/pets'):
            return self.answer(dict(id='someone/pets', sha='a'*40, siblings=[dict(rfilename=name) for name in self.store['files']]))
        if not match or match[2] not in self.store['files']:
            return self.answer(dict(error='Entry not found'), 404, X_Error_Code='EntryNotFound')
        data = self.store['files'][match[2]]
        self.answer(data, X_Repo_Commit='a'*40, ETag=f'"{hashlib.sha256(data).hexdigest()}"')

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path):
    "A Hub on loopback and the variables by which its client finds it"
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    server.store = dict(files={}, objects={}, asked=[], refuse='')
    threading.Thread(target=server.serve_forever, daemon=True).start()
    given = dict(HF_ENDPOINT=f'http://127.0.0.1:{server.server_port}', HF_HUB_OFFLINE='0', HF_TOKEN='hf_secret', HF_HOME=str(tmp_path/'hf'))
    yield server.store, {**os.environ, **given, 'HF_HUB_DISABLE_XET': '1'}
    server.shutdown()
    server.server_close()


def test_timm_loads_what_was_pushed(runs, hub):
    store, environment = hub
    folder = next(runs.glob('test_resnet*'))
    done = catdog('push', folder, 'someone/pets', env=environment)
    assert done.returncode == 0, done.stderr
    assert set(store['files']) == {'README.md', 'config.json', 'model.safetensors', 'model.onnx'}
    assert all(key == 'Bearer hf_secret' for _, key in store['asked'])
    card = store['files']['README.md'].decode()
    assert card.startswith('---\nlibrary_name: timm') and str(folder.parent) not in card and '95% interval' in card
    loaded = run(sys.executable, '-c', TIMM, env=environment)
    assert loaded.returncode == 0, loaded.stderr
    told = json.loads(loaded.stdout)
    import torch
    from catdog.models.backbone import load_model
    model, classes, _ = load_model(folder/'model.safetensors')
    torch.manual_seed(0)
    with torch.no_grad(): assert torch.allclose(torch.tensor(told['answer']), model(torch.randn(2, 3, 48, 48)), atol=1e-5)
    assert told['classes'] == classes and told['size'] == [3, 48, 48]


def test_nothing_is_sent_where_a_photo_would_travel(runs, hub, pets, tmp_path):
    store, environment = hub
    (tmp_path/'out').mkdir()
    (tmp_path/'out'/'holiday.txt').write_bytes(next((pets/'cat').iterdir()).read_bytes())
    done = catdog('push', next(runs.glob('test_resnet*')), 'someone/pets', '--with', tmp_path/'out', env=environment)
    assert done.returncode == 2 and 'holiday.txt holds a photo' in done.stderr and store['asked'] == []


def test_a_hub_that_refuses_is_told_at_each_call(runs, hub):
    "Whichever call it refuses, the person reads why, no file has arrived, and the same push goes through afterwards"
    store, environment = hub
    parts = ['/repos/create', '/preupload/', '/objects/batch', '/lfs/', '/commit/']
    done = run(sys.executable, '-c', PUSHES, next(runs.glob('test_resnet*')), *parts, 'nothing', env=environment)
    assert done.returncode == 0, done.stderr
    *refused, passed = map(json.loads, done.stdout.splitlines())
    for part, told in zip(parts, refused, strict=True): assert told.startswith('refused: the Hub did not take someone/pets: '), (part, told)
    assert passed.endswith('/someone/pets') and 'model.safetensors' in store['files']
