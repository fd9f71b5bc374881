"""Labels judged on a page: each verdict is in the file at once, none is lost or overwritten unseen, and no stranger can give one."""
import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from conftest import BIN, catdog

from catdog.files import hash_file
from catdog.photos.review import read_verdicts

HOSTILE = '<img src=x onerror=alert(1)>"\' #1.jpg'


@pytest.fixture(scope='module')
def faulty(tmp_path_factory):
    "Drawn photos, of which one carries two labels, one lies in the wrong folder and one has a name that is markup"
    from catdog.photos.sample import draw_sample
    folder = draw_sample(tmp_path_factory.mktemp('review')/'pets', n=60, seed=3)
    shutil.copy(folder/'cat'/'cat.0.jpg', folder/'dog'/'dog.copy.jpg')
    (folder/'cat'/'cat.2.jpg').rename(folder/'dog'/HOSTILE)
    return folder


class Page:
    "`catdog review` in a process of its own"
    def __init__(self, data, file, *options):
        command = [BIN/'catdog', 'review', data, '--review', file, '-n', '12', *options]
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, cwd=Path(file).parent)
        self.address = self.process.stdout.readline().removeprefix('Open ').strip()
        self.base, _, self.token = self.address.partition('?token=')

    def ask(self, path, body=None, token=None, **headers):
        "Status and answer of a question"
        headers = {'X-Catdog-Token': self.token if token is None else token, **{name.replace('_', '-'): v for name, v in headers.items()}}
        request = urllib.request.Request(self.base+path, None if body is None else json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer: return answer.status, answer.read()
        except urllib.error.HTTPError as error: return error.code, error.read()

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.process.wait(20)


@pytest.fixture
def served(faulty, tmp_path):
    made = Page(faulty, tmp_path/'review.csv')
    yield made
    if made.process.poll() is None: made.stop()


def decided(file):
    "Verdict and label by photo"
    table = read_verdicts(file)
    return {row.sha256: (row.verdict, row.label) for row in table.itertuples()}


def test_verdicts_survive_a_kill_and_refuse_strangers(served, faulty, tmp_path):
    two, cat, dog = (hash_file(faulty/name) for name in ('cat/cat.0.jpg', f'dog/{HOSTILE}', 'dog/dog.1.jpg'))
    file = tmp_path/'review.csv'
    assert served.ask('verdict', dict(sha256=two, verdict='relabel', label='cat', expected=['', '']))[0] == 200
    status, told = served.ask('verdict', dict(sha256=two, verdict='keep', expected=['relabel', 'cat']))
    assert status == 400 and b'carries two labels' in told
    assert served.ask('verdict', dict(sha256=cat, verdict='relabel', label='fox'))[0] == 400
    assert served.ask('verdict', dict(sha256='0'*64, verdict='drop'))[0] == 400
    assert served.ask('verdict', dict(sha256=cat, verdict='drop'), token='')[0] == 403
    assert served.ask('verdict', dict(sha256=cat, verdict='drop'), Origin='http://evil.example')[0] == 403
    assert served.ask('verdicts', Host='evil.example')[0] == 403
    for path in ('photo/..%2f..%2fetc%2fpasswd', f'photo/{hash_file(__file__)}', 'photo/%2fetc%2fpasswd'): assert served.ask(path)[0] == 404
    assert decided(file) == {two: ('relabel', 'cat')}

    assert served.ask('verdict', dict(sha256=cat, verdict='relabel', label='cat', expected=['', '']))[0] == 200
    served.stop(signal.SIGKILL)
    assert decided(file) == {two: ('relabel', 'cat'), cat: ('relabel', 'cat')}
    done = catdog('verdict', faulty/'dog'/'dog.1.jpg', 'drop', '--review', file)     # another writer, between the two
    assert done.returncode == 0, done.stderr

    again = Page(faulty, file)
    told = json.loads(again.ask('verdicts')[1])
    assert told['photos'][cat] == dict(verdict='relabel', new_label='cat')
    status, told = again.ask('verdict', dict(sha256=cat, verdict='drop', expected=['', '']))    # a page that has not seen it
    assert status == 409 and b'another page' in told
    assert again.ask('verdict', dict(sha256=cat, verdict='drop', expected=['relabel', 'cat']))[0] == 200
    assert again.ask('undo', {})[0] == 200 and again.ask('undo', {})[0] == 400
    again.stop()
    assert decided(file) == {two: ('relabel', 'cat'), cat: ('relabel', 'cat'), dog: ('drop', '')}
    table = pd.read_csv(file)
    assert list(table)[:2] == ['path', 'doubt'] and list(table)[-1] == 'sha256' and table.doubt.dropna().is_monotonic_decreasing
    applied = catdog('audit', faulty, '--review', file, '--report', tmp_path/'card', '--no-issues')
    assert applied.returncode == 0, applied.stderr


def says(page, text):
    "Wait until the page says something"
    page.locator('#said', has_text=text).wait_for(timeout=15000)


LATE = '''() => {                 // the list of verdicts, asked for as the page is focused, comes back after what is done meanwhile
  const quick = window.fetch;
  window.fetch = async (address, options) => {
    const answer = await quick(address, options);
    if (String(address) === 'verdicts') await new Promise(done => setTimeout(done, 400));
    return answer;
  };
}'''


def test_two_tabs_keys_and_undo_in_a_browser(served, faulty, page, tmp_path):
    file, alarms = tmp_path/'review.csv', []
    page.on('dialog', lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    page.on('pageerror', lambda error: alarms.append(str(error)))
    page.on('console', lambda said: alarms.append(said.text) if 'Content Security Policy' in said.text else None)
    page.goto(served.address)
    assert page.inner_text('#given') == 'labelled cat and dog' and page.is_disabled('#keep')
    page.keyboard.press('1')
    says(page, 'relabelled as cat')
    first = hash_file(faulty/'cat'/'cat.0.jpg')
    assert decided(file) == {first: ('relabel', 'cat')}

    other = page.context.browser.new_page()
    other.goto(served.address)
    second = other.evaluate('desk.photos[1].sha256')
    other.keyboard.press('d')
    says(other, 'drop')
    page.evaluate('document.getElementById("keep").click()')     # it has not seen the other's verdict
    says(page, 'another page')
    assert decided(file)[second] == ('drop', '')
    page.keyboard.press('u')
    says(page, 'taken back')
    assert page.evaluate('at') == 1          # at the photo whose verdict it was
    assert decided(file) == {first: ('relabel', 'cat')}

    names = page.evaluate('desk.photos.map(photo => photo.name)')
    page.evaluate(f'go({names.index("dog/"+HOSTILE)})')
    assert page.inner_text('#name') == 'dog/'+HOSTILE and page.locator('#opinions .doubts').count() == 1
    for width in (1280, 390):
        for scheme in ('light', 'dark'):
            page.set_viewport_size(dict(width=width, height=900))
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate('document.documentElement.scrollWidth') <= width
            page.locator('#picture').evaluate('image => image.decode()')
            page.screenshot(path=Path(os.environ.get('CATDOG_SCREENSHOTS', tmp_path))/f'review-{width}-{scheme}.png')
    page.evaluate(LATE)
    page.evaluate('dispatchEvent(new Event("focus")); document.getElementById("drop").click()')
    says(page, 'drop')
    page.wait_for_timeout(600)
    assert page.inner_text('#count').startswith('2 of') and page.is_enabled('#undo')
    assert not alarms
    served.stop()
    page.keyboard.press('d')
    says(page, 'Not saved')


def test_a_page_without_a_server_hands_the_file_out(faulty, page, tmp_path):
    done = catdog('doubtful', faulty, '--review', tmp_path/'list.csv', '--page', tmp_path/'page.html', '-n', 60)
    assert done.returncode == 0, done.stderr
    assert len(read_verdicts(tmp_path/'list.csv', undecided=True)) == 60
    page.goto((tmp_path/'page.html').as_uri())
    page.keyboard.press('2')
    page.keyboard.press('d')
    page.keyboard.press('u')
    page.evaluate(f"go(desk.photos.findIndex(photo => photo.name === {json.dumps('dog/'+HOSTILE)}))")
    page.keyboard.press('d')
    page.reload()
    with page.expect_download() as download: page.click('#hand-out')
    download.value.save_as(tmp_path/'review.csv')
    expected = {hash_file(faulty/'cat'/'cat.0.jpg'): ('relabel', 'dog'), hash_file(faulty/'dog'/HOSTILE): ('drop', '')}
    assert decided(tmp_path/'review.csv') == expected
    assert set(read_verdicts(tmp_path/'review.csv').path) == {'cat/cat.0.jpg', 'dog/'+HOSTILE}


def test_data_is_required_and_a_file_that_is_no_review_refused(faulty, tmp_path):
    assert catdog('review').returncode == 2
    (tmp_path/'photos.csv').write_text('path,label\na.jpg,cat\n')
    done = catdog('review', faulty, '--review', tmp_path/'photos.csv')
    assert done.returncode == 2 and 'sha256' in done.stderr and (tmp_path/'photos.csv').read_text().startswith('path,label')
