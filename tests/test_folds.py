"""Folds: every photo is tested once, by a network that never saw it, and the folds are one setup."""
import pytest
from conftest import TINY, catdog

from catdog.comparison.choose import choose
from catdog.comparison.compare import compare_runs
from catdog.comparison.gather import read_runs
from catdog.photos.catalogue import make_catalogue
from catdog.training.config import make_config


def test_every_photo_is_tested_once(pets):
    parts = [make_catalogue(pets, folds=3, fold=fold) for fold in range(3)]
    tested = [set(part.sha256[part.split == 'test']) for part in parts]
    assert set.union(*tested) == set(parts[0].sha256) and sum(map(len, tested)) == len(set(parts[0].sha256))
    for part in parts:
        assert not set(part.group[part.split == 'test']) & set(part.group[part.split.isin(['train', 'valid'])])


@pytest.mark.parametrize('settings, said', [(dict(folds=3, fold=3), 'too many'), (dict(fold=1), 'needs folds'), (dict(folds=1), 'folds')])
def test_folds_that_are_none_are_refused(settings, said):
    with pytest.raises(ValueError, match=said): make_config(**settings)


def test_a_sweep_trains_every_fold_and_they_are_one_setup(tmp_path, pets):
    "`catdog sweep folds=2`: nobody names a fold"
    settings = {**TINY, 'arch': 'test_resnet', 'data': pets, 'runs': tmp_path/'runs', 'recipe': 'frozen', 'folds': 2}
    done = catdog('sweep', *[f'{name}={value}' for name, value in settings.items()])
    assert done.returncode == 0, done.stderr
    comparison = compare_runs(*read_runs(tmp_path/'runs'))
    row = comparison.rows.iloc[0]
    assert len(comparison.rows) == 1 and (row.runs, row.seeds, row.photos) == (2, 1, 60)
    assert comparison.tested.overlap == 1 and not comparison.tested.same_photos and choose(comparison).decided
