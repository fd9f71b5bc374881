"""Copies are found as comparing each with each would find them, and no split, fold or subset betrays them."""
import numpy as np
import pandas as pd
import pytest
from conftest import catdog
from PIL import Image

from catdog.errors import DataError
from catdog.photos.duplicates import group_duplicates, near_pairs
from catdog.photos.catalogue import assign_folds, assign_splits, choose_subset, make_catalogue


def photos(n, seed, groups=None):
    "A random table: labels in unequal shares, groups of any size"
    rng = np.random.default_rng(seed)
    sha = [f'{x:016x}' for x in rng.integers(0, 2**63, n)]
    return pd.DataFrame(dict(label=rng.choice(['cat', 'dog', 'fox'], n, p=[.5, .3, .2]), sha256=sha, group=rng.integers(0, groups, n).astype(str) if groups else sha, split=''))


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('distance', [0, 1, 2, 4, 7])
def test_near_pairs_are_those_of_each_with_each(seed, distance):
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 60, np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (900, 2+seed), np.uint64)
    hashes = np.unique(rng.choice(centres, 900)^np.bitwise_xor.reduce(flips, 1))
    expected = np.argwhere(np.triu(np.bitwise_count(hashes[:, None]^hashes[None]) <= distance, 1))
    assert np.array_equal(near_pairs(hashes, distance), expected) and (len(expected) or distance < 2)


def test_many_copies_are_no_burden():
    "Ten thousand copies of one photo, and as many without relief, are groups and not fifty million pairs"
    table = pd.DataFrame(dict(sha256=[f'{i:064x}' for i in range(20_000)], dhash=['00ff00ff00ff00ff']*10_000+['']*10_000))
    assert group_duplicates(table).nunique() == 10_001


@pytest.mark.parametrize('seed', range(8))
def test_no_group_is_parted(seed):
    table = photos(600, seed, groups=90)
    for sides in (assign_splits(table, seed=seed), assign_folds(table, 4, seed)): assert sides.groupby(table.group).nunique().max() == 1


def test_each_class_has_its_share():
    table = photos(3000, 0)
    share = assign_splits(table, .1, .2).groupby(table.label).value_counts(normalize=True).unstack()
    assert (share.test-.2).abs().max() < .002 and (share.valid-.08).abs().max() < .002
    folds = assign_folds(table, 5).groupby(table.label).value_counts(normalize=True)
    assert (folds-.2).abs().max() < .005


def test_added_photos_leave_the_others_in_place():
    table = photos(2200, 3)
    before, after = assign_splits(table[:2000]), assign_splits(table)[:2000]
    assert (before != after).mean() < .02
    frozen = assign_splits(table.assign(split=before.reindex(table.index, fill_value='')))
    assert (frozen[:2000] == before).all() and abs((frozen[2000:] == 'test').mean()-.2) < .02


def test_another_seed_draws_others():
    table = photos(500, 1)
    assert (assign_splits(table, seed=1) != assign_splits(table, seed=2)).any()


def test_subsets_are_nested_and_stratified():
    table = photos(1000, 2)
    chosen = [set(choose_subset(table, n)) for n in (3, 50, 200, 400, 1000)]
    assert all(a < b for a, b in zip(chosen, chosen[1:])) and [len(c) for c in chosen] == [3, 50, 200, 400, 1000]
    shares = table.loc[list(chosen[2])].label.value_counts(normalize=True)-table.label.value_counts(normalize=True)
    assert shares.abs().max() < .01
    with pytest.raises(DataError, match='between 3'): choose_subset(table, 2)


def test_a_leak_in_a_given_split_is_named_and_left(pets, tmp_path):
    for label in ('cat', 'dog'):
        for side, numbers in (('train', range(0, 20)), ('test', range(20, 30))):
            (tmp_path/'pets'/side/label).mkdir(parents=True)
            for i in numbers: (tmp_path/'pets'/side/label/f'{i}.jpg').write_bytes((pets/label/f'{label}.{i}.jpg').read_bytes())
    with Image.open(pets/'cat'/'cat.0.jpg') as image: image.resize((image.width*2//3, image.height*2//3)).save(tmp_path/'pets'/'test'/'cat'/'again.png')
    catalogue = make_catalogue(tmp_path/'pets')
    assert catalogue[catalogue.leak].path.map(lambda p: p.name).tolist() == ['again.png'] and (catalogue.split == 'test').sum() == 21
    done = catdog('audit', tmp_path/'pets')
    assert done.returncode == 0 and '1 of the test photos have a copy' in done.stderr and 'again.png' in done.stderr


def test_training_subsets_share_the_test_photos(pets):
    small, large = (make_catalogue(pets, train_photos=n) for n in (10, 20))
    assert set(small.sha256[small.split == 'train']) < set(large.sha256[large.split == 'train'])
    assert (small.split == 'train').sum() == 10 and (small.sha256[small.split == 'test'] == large.sha256[large.split == 'test']).all()
    assert set(small.split) == {'train', 'valid', 'test', 'unused'}
