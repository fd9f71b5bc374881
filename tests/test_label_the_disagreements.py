"""Photos without labels: only those on which networks differ are asked about, drawn by chance; labels survive, and decide rightly."""
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import BIN, ROOT, TINY, catdog, options, take_interrupts
from test_review_page import Page

from catdog.photos.review import read_verdicts

sys.path.insert(0, str(ROOT/'benchmarks'))


@pytest.fixture(scope='module')
def learned(tmp_path_factory):
    "Photos, and a folder of runs of two networks that learned little from them, each in its own way"
    from catdog.finding.trainings import train_run
    from catdog.photos.sample import draw_sample
    from catdog.training.config import make_config
    folder = tmp_path_factory.mktemp('learned')
    pets = draw_sample(folder/'pets', n=160, seed=3)
    for arch in ('test_resnet', 'test_byobnet'):
        train_run(make_config(**{**TINY, 'arch': arch, 'epochs': 6, 'data': str(pets), 'runs': str(folder/'runs')}))
    return pets, folder/'runs'


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Photos without labels, whose names hold the truth; one cannot be read, and one is a copy"
    from catdog.photos.sample import draw_sample
    folder, drawn = tmp_path_factory.mktemp('unlabelled')/'new', tmp_path_factory.mktemp('drawn')
    folder.mkdir()
    for path in sorted(draw_sample(drawn/'pets', n=120, seed=9).rglob('*.jpg')): shutil.copy(path, folder/path.name)
    shutil.copy(folder/'cat.0.jpg', folder/'cat.again.jpg')
    (folder/'cat.torn.jpg').write_bytes((folder/'cat.2.jpg').read_bytes()[:400])
    return folder


class Labeller(Page):
    "A command that asks for labels, in a process of its own, and a person who knows the truth"
    def __init__(self, *command):
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.process = subprocess.Popen([str(c) for c in command], preexec_fn=take_interrupts, **pipes)
        self.told = []
        self.read_until('Open http')
        self.base, _, self.token = self.told[-1].removeprefix('Open ').strip().partition('?token=')

    def read_until(self, begin):
        for line in self.process.stdout:
            self.told.append(line)
            if line.startswith(begin): return True
        return False

    def asked(self):
        "The photos of the page that are not judged yet, as the page holds them"
        page = self.ask('')[1].decode()
        desk = json.loads(page.partition('id="desk">')[2].partition('</script>')[0])
        return [photo for photo in desk['photos'] if not photo['verdict']]

    def label(self, photos):
        for photo in photos:
            truth = photo['name'].partition('/')[2].partition('.')[0]
            status, _ = self.ask('verdict', dict(sha256=photo['sha256'], verdict='relabel', label=truth, expected=['', '']))
            assert status == 200

    def ask(self, path, body=None, **headers):
        "As the page asks: the first with the token in the address"
        return super().ask(path or f'?token={self.token}', body, **headers)


ASK = "import sys, catdog; catdog.compare(sys.argv[1], unlabelled=sys.argv[2], labels=sys.argv[3], delta=1.).labelling.serve()"


def test_labels_are_asked_for_killed_and_gone_on(learned, photos, tmp_path):
    labels = tmp_path/'labels.csv'
    first = Labeller(sys.executable, '-c', ASK, learned[1], photos, labels)
    batch = first.asked()
    assert batch and all(photo['label'] == '' and photo['opinions'] == [] for photo in batch)     # nobody is led
    first.label(batch[:5])
    first.stop(signal.SIGKILL)
    assert len(read_verdicts(labels)) == 5

    more = ('--out', tmp_path/'report', '--delta', 1, '--unlabelled', photos, '--labels', labels)
    again = Labeller(BIN/'catdog', 'compare', learned[1], *more)
    assert [photo['sha256'] for photo in again.asked()] == [photo['sha256'] for photo in batch[5:]]
    while again.process.poll() is None:
        again.label(again.asked())
        if not again.read_until('Load the page again'): break
    assert again.process.wait(30) in (0, 3), again.process.stderr.read()
    said = ' '.join(' '.join(again.told).split())
    assert 'cat.again.jpg' in said and 'cat.torn.jpg' in said and 'labelled photos say' in said
    assert (again.process.returncode == 0) == ('the cheapest that is within' in said or 'every other network is shown to be worse' in said)
    assert len(read_verdicts(labels)) >= len(batch)


@pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='in the long form (make faults)')
def test_find_goes_on_with_photos_without_labels(learned, photos, tmp_path):
    settings = dict(candidates='test_resnet,test_byobnet', weights='none', image_size=48, epochs=6, folds=2, budget='1h', delta=.1)
    asking = Labeller(BIN/'catdog', 'find', learned[0], *options({**settings, 'runs': tmp_path, 'unlabelled': photos}))
    batch = asking.asked()
    asking.label(batch[:1])
    asking.stop()
    assert asking.process.returncode == 130 and 'the labels are kept' in asking.process.stderr.read()
    assert read_verdicts(tmp_path/'labels.csv').sha256.tolist() == [batch[0]['sha256']]


def test_find_refuses_what_is_no_folder(pets, tmp_path):
    refused = catdog('find', pets, '--unlabelled', tmp_path/'none')
    assert refused.returncode == 2 and 'is no folder' in refused.stderr


def test_what_was_learned_from_is_left_out(learned, tmp_path):
    from catdog.door import compare
    from catdog.training.run import Run
    pets, runs = learned
    folder = tmp_path/'new'
    folder.mkdir()
    for path in sorted(pets.rglob('*.jpg')): shutil.copy(path, folder/path.name)
    labelling = compare(runs, unlabelled=folder, labels=tmp_path/'labels.csv', delta=1.).labelling
    sides = Run(next(runs.glob('test_resnet*'))).photos
    assert set(labelling.guesses.index) <= set(sides.sha256[sides.split == 'test'])
    assert 'a network learned from it' in ' '.join(labelling.said)


def test_wrong_answers_stay_below_their_share():
    from find import Pool, measure_pool
    rows = [measure_pool(Pool((.96, .98), 2000, delta=0.), 15), measure_pool(Pool((.9595, .97), 1000), 25)]
    assert rows[0]['decided'] >= .8 and rows[0]['labels'] < rows[0]['differ']
    assert all(row['wrong'] <= .05+2*np.sqrt(.05*.95/row['times']) for row in rows), rows
