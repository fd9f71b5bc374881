"""Photos without labels: only those on which networks differ are asked about, drawn by chance; labels survive, and decide rightly."""
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import BIN, ROOT, catdog, options, take_interrupts
from test_review_page import Page

from catdog.files import hash_file
from catdog.photos.review import read_verdicts

sys.path.insert(0, str(ROOT/'benchmarks'))


@pytest.fixture(scope='module')
def photos(tmp_path_factory, pets):
    "Photos without labels, whose names hold the truth; one cannot be read, one is a copy, and three were learned from"
    from catdog.photos.sample import draw_sample
    folder, drawn = tmp_path_factory.mktemp('unlabelled')/'new', tmp_path_factory.mktemp('drawn')
    folder.mkdir()
    for path in sorted(draw_sample(drawn/'pets', n=240, seed=9).rglob('*.jpg')): shutil.copy(path, folder/path.name)
    shutil.copy(folder/'cat.0.jpg', folder/'cat.again.jpg')
    (folder/'cat.torn.jpg').write_bytes((folder/'cat.2.jpg').read_bytes()[:400])
    return folder


class Labeller(Page):
    "A command that asks for labels, in a process of its own, and a person who knows the truth"
    def __init__(self, *command):
        command = [str(c) for c in (BIN/'catdog', *command)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=take_interrupts)
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


def test_compare_asks_for_disagreements_killed_and_gone_on(runs, photos, tmp_path):
    labels, command = tmp_path/'labels.csv', ('compare', runs, '--out', tmp_path/'report', '--delta', .1, '--unlabelled', photos)
    first = Labeller(*command, '--labels', labels)
    said = ' '.join(' '.join(first.told).split())
    assert 'differ on' in said and 'labelled photos say' in said
    batch = first.asked()
    assert batch and all(photo['label'] == '' and photo['opinions'] == [] for photo in batch)     # nobody is led
    assert not {'cat.again.jpg', 'cat.torn.jpg'} & {photo['name'].partition('/')[2] for photo in batch}
    first.label(batch[:5])
    first.stop(signal.SIGKILL)
    assert len(read_verdicts(labels)) == 5

    again = Labeller(*command, '--labels', labels)
    assert [photo['sha256'] for photo in again.asked()] == [photo['sha256'] for photo in batch[5:]]
    while again.process.poll() is None:
        again.label(again.asked())
        if not again.read_until('Load the page again'): break
    assert again.process.wait(30) in (0, 3), again.process.stderr.read()
    said = ' '.join(' '.join(again.told).split())
    assert ('Take ' in said) == (again.process.returncode == 0)
    assert len(read_verdicts(labels)) > len(batch)-1


def test_find_goes_on_with_photos_without_labels(pets, photos, tmp_path):
    quick = dict(candidates='test_resnet,test_byobnet', weights='none', image_size=64, epochs=1, folds=2, budget='1h', runs=tmp_path, delta=.1)
    refused = catdog('find', pets, *options({**quick, 'unlabelled': tmp_path/'none'}))
    assert refused.returncode == 2 and 'is no folder' in refused.stderr
    asking = Labeller('find', pets, *options({**quick, 'unlabelled': photos}))
    batch = asking.asked()
    asking.label(batch[:1])
    asking.stop()
    assert asking.process.returncode == 130 and 'the labels are kept' in asking.process.stderr.read()
    assert read_verdicts(tmp_path/'labels.csv').sha256.tolist() == [batch[0]['sha256']]


def test_what_was_learned_from_is_left_out(runs, pets, tmp_path):
    from catdog.door import compare
    from catdog.training.run import Run
    folder = tmp_path/'new'
    folder.mkdir()
    for path in sorted(pets.rglob('*.jpg')): shutil.copy(path, folder/path.name)
    labelling = compare(runs, unlabelled=folder, labels=tmp_path/'labels.csv', delta=.1).labelling
    sides = Run(next(runs.glob('test_resnet*'))).photos.set_index('sha256').split
    tested = {hash_file(path) for path in folder.iterdir() if sides.get(hash_file(path)) == 'test'}
    assert set(labelling.guesses.index) <= tested and 'learned from' in ' '.join(labelling.said)


def test_wrong_answers_stay_below_their_share():
    from find import Pool, measure_pool
    rows = [measure_pool(Pool((.97, .98), 4000, delta=.0), 40), measure_pool(Pool((.9595, .97), 2000), 60)]
    assert rows[0]['decided'] > .7 and rows[0]['labels'] < 170
    assert all(row['wrong'] <= .05+2*np.sqrt(.05*.95/row['times']) for row in rows), rows
