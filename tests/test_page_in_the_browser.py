"""The page without a server says what the Python side says, photo by photo, and asks no other host."""
import functools
import http.server
import json
import shutil
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import ROOT, catdog, render_site, run


@pytest.fixture(scope='module')
def folder(tmp_path_factory, runs):
    "The page of a run"
    out = tmp_path_factory.mktemp('page')/'page'
    done = catdog('page', next(runs.glob('baseline*')), '-o', out)
    if 'cannot be had' in done.stderr: pytest.skip(f'onnxruntime for browsers is neither cached nor reached: {done.stderr.strip()[:200]}')
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope='module')
def drawn(folder):
    "100 drawn photos of many sizes beside the page, PNG and JPEG, one on its side and one with a transparent ground"
    from catdog.photos.sample import draw_picture
    (folder/'photos').mkdir()
    for i in range(100):
        picture = draw_picture(('cat', 'dog')[i % 2], i).resize((60+7*(i % 40), 300-5*(i % 37)))
        path = folder/'photos'/f'{i:03d}.{("png", "jpg")[i % 2]}'
        if i == 0: picture.putalpha(picture.convert('L'))
        more = {}
        if i == 1:
            more['exif'] = picture.getexif()
            more['exif'][274] = 6
        picture.save(path, **({} if i % 2 == 0 else dict(quality=90)), **more)
    return sorted((folder/'photos').iterdir())


@contextmanager
def served(folder):
    "The address of a folder's files"
    quiet = type('Quiet', (http.server.SimpleHTTPRequestHandler,), dict(log_message=lambda *_: None))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def address(folder):
    with served(folder) as address: yield address


ASK = """async names => {
  const told = []
  for (const name of names) told.push(await classify(await (await fetch('photos/'+name)).blob()))
  return told
}"""


def wait_until(page, holds, seconds=30):
    "Asked from outside: what waits inside the page is text made into code, which the page's policy refuses"
    deadline = time.monotonic()+seconds
    while not page.evaluate(holds):
        assert time.monotonic() < deadline, holds
        time.sleep(.1)


def test_it_agrees_on_a_hundred_photos(folder, drawn, address, page):
    asked = []
    page.on('request', lambda request: asked.append(request.url))
    page.goto(address)
    wait_until(page, 'Boolean(window.classify)')
    told = page.evaluate(ASK, [path.name for path in drawn])
    here = catdog('predict', folder/'model.onnx', *drawn, '--json', '--batch-size', 1)
    ours = [json.loads(line) for line in here.stdout.splitlines()]
    for one, other in zip(told, ours):
        assert np.isclose(one['probabilities']['cat'], other['probabilities']['cat'], atol=1e-3), other['path']
    assert len(told) == 100 and all(url.startswith(address) for url in asked)


def test_a_person_drops_a_photo_on_a_phone(drawn, address, page):
    page.set_viewport_size(dict(width=390, height=780))
    page.goto(address)
    page.set_input_files('#file', str(drawn[3]))
    page.wait_for_selector('#shares tr')
    assert page.inner_text('#said') in ('cat', 'dog') and page.locator('#shares tr').count() == 2
    assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
    page.set_input_files('#file', dict(name='a.jpg', mimeType='image/jpeg', buffer=b'meow'))
    wait_until(page, "document.getElementById('said').textContent.includes('cannot read that file as a picture')")
    assert page.is_hidden('#figure') and page.is_hidden('#where')


def test_the_site_shows_it_live(tmp_path, runs, page):
    "Inside the site's own page: a drawn picture is offered, labelled, and explained"
    site = shutil.copytree(render_site(), tmp_path/'site')
    done = run(sys.executable, ROOT/'scripts'/'live.py', '--model', next(runs.glob('baseline*')), '--out', site/'live')
    if 'cannot be had' in done.stderr: pytest.skip(f'onnxruntime for browsers is neither cached nor reached: {done.stderr.strip()[:200]}')
    assert done.returncode == 0 and not done.stderr, done.stderr
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    with served(site) as address:
        page.goto(f'{address}/live.html')
        live = page.frame_locator('iframe')
        live.locator('#examples button').nth(1).click()
        live.locator('#shares tr').nth(1).wait_for()
        live.locator('#where').click()
        live.locator('#heat:not([hidden])').wait_for()
        assert 'less probable' in live.locator('#hint').inner_text() and live.locator('#said').inner_text() in ('cat', 'dog')
    assert not errors
