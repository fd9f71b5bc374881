"""Verdicts on labels, from the doubt of a network to the accuracy after review."""
import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY, catdog, options

from catdog.errors import DataError
from catdog.files import hash_file
from catdog.photos.review import read_verdicts, reviewed_accuracy
from catdog.photos.catalogue import make_catalogue


@pytest.fixture(scope='module')
def review(pets, tmp_path_factory):
    file = tmp_path_factory.mktemp('review')/'review.csv'
    test = make_catalogue(pets).query("split == 'test'").path.tolist()
    for photo, *decision in ((test[0], 'relabel', '--label', 'dog'), (test[1], 'drop'), (pets/'dog'/'dog.3.jpg', 'keep')):
        done = catdog('verdict', photo, *decision, '--review', file)
        assert done.returncode == 0, done.stderr
    return file, test


def test_verdicts_are_applied_and_move_nothing_else(pets, review):
    file, test = review
    before, after = make_catalogue(pets), make_catalogue(pets, review=file)
    changed = before.path[(before.label != after.label) | (before.split != after.split)].tolist()
    assert changed == test[:2]
    assert after.set_index('path').loc[test[1], ['status', 'reason', 'split']].tolist() == ['skipped', 'dropped in review', '']


def test_a_run_records_its_review(pets, review, tmp_path):
    done = catdog('train', *options({**TINY, 'data': pets, 'runs': tmp_path/'runs', 'review': review[0], 'train-photos': 20}))
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path/'runs').iterdir()
    info = json.loads((folder/'run.json').read_text())
    assert info['config']['review'] == str(review[0]) and info['catalogue']['relabelled'] == 1 and info['catalogue']['dropped'] == 1
    assert sum(n for side, n in info['catalogue']['photos'].items() if side.startswith('train/')) == 20
    predictions = pd.read_parquet(folder/'predictions.parquet')
    told = reviewed_accuracy(predictions, read_verdicts(review[0]))
    metrics = info['metrics']
    assert told['relabelled'] == 1 and told['dropped'] == 0
    assert told['reviewed'] == pytest.approx(metrics['accuracy']) and told['raw'] == pytest.approx(metrics['raw_accuracy'])
    assert abs(told['raw']-told['reviewed']) == pytest.approx(1/len(predictions))


def test_the_folder_of_a_listed_photo_is_no_label():
    "A verdict names the folder as the label it had; where a list gives the labels, that is none of them"
    table = pd.DataFrame(dict(sha256=['a'*64, 'b'*64], label=['cat', 'dog'], p_cat=[.9, .2], p_dog=[.1, .8]))
    verdicts = pd.DataFrame(dict(sha256=['a'*64], verdict=['keep'], label=[''], given=['images']))
    assert reviewed_accuracy(table, verdicts)['raw'] == 1


def test_the_file_survives_its_photos(pets, review):
    "It names contents, not paths: a copy elsewhere is relabelled too"
    table = read_verdicts(review[0])
    assert set(table.sha256) == {hash_file(p) for p in (*review[1][:2], pets/'dog'/'dog.3.jpg')}
    assert str(pets) not in Path(review[0]).read_text()


@pytest.mark.parametrize('arguments, text', [(['erase'], 'none of keep, relabel, drop'), (['relabel'], 'add --label')])
def test_wrong_verdicts_are_named(pets, tmp_path, arguments, text):
    done = catdog('verdict', pets/'cat'/'cat.0.jpg', *arguments, '--review', tmp_path/'r.csv')
    assert done.returncode == 2 and text in done.stderr and not (tmp_path/'r.csv').exists()


def test_a_new_class_is_refused(pets, tmp_path):
    catdog('verdict', pets/'cat'/'cat.0.jpg', 'relabel', '--label', 'fox', '--review', tmp_path/'r.csv')
    with pytest.raises(DataError, match="'fox', which is no class"): make_catalogue(pets, review=tmp_path/'r.csv')


def test_doubts_of_runs_become_a_review(pets, runs, tmp_path):
    "The most doubtful labels are listed with empty verdicts, the worst first, and a filled-in verdict is kept"
    from catdog.evaluation.labels import rank_labels
    from catdog.training.run import Run
    folders = sorted(runs.iterdir())
    named = [text for folder in folders for text in ('--runs', folder)]
    command = ['doubtful', pets, *named, '--review', tmp_path/'review.csv', '--page', tmp_path/'page.html', '-n', 8]
    done = catdog(*command)
    assert done.returncode == 0, done.stderr
    ranked = rank_labels({folder.name: Run(folder).predictions for folder in folders})
    expected = set(ranked.sha256[:8])
    listed = read_verdicts(tmp_path/'review.csv', undecided=True)
    assert set(listed.sha256) == expected and set(listed.verdict) <= {''} and len(read_verdicts(tmp_path/'review.csv')) == 0
    assert (tmp_path/'page.html').read_text().count('data:image/jpeg;base64') == len(expected) == 8
    assert listed.doubt.astype(float).is_monotonic_decreasing and listed.path.str.match(r'(cat|dog)/.+[.]jpg').all()
    table = listed.assign(verdict='drop')
    table.to_csv(tmp_path/'review.csv', index=False)
    assert catdog(*command).returncode == 0
    assert len(read_verdicts(tmp_path/'review.csv')) == len(expected)


def test_doubtful_names_a_run_that_is_none(pets, tmp_path):
    done = catdog('doubtful', pets, '--runs', tmp_path, '--review', tmp_path/'review.csv')
    assert done.returncode == 2 and 'no finished run' in done.stderr
