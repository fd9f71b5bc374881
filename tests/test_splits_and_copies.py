"""Copies are found as comparing each with each would find them, and no split, fold or subset betrays them."""
import io
import os
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, catdog
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from sklearn.datasets import load_digits

from catdog.errors import DataError
from catdog.photos import duplicates
from catdog.photos.catalogue import assign_folds, assign_splits, choose_subset, compare_catalogues, make_catalogue, photos_id
from catdog.photos.decode import open_photo
from catdog.photos.duplicates import find_leaks, group_duplicates, near_copies, near_pairs
from catdog.photos.review import add_verdict
from catdog.photos.sample import draw_picture
from catdog.photos.workers import difference_hash, grey_thumbnail


def photos(n, seed, groups=None):
    "A random table: labels in unequal shares, groups of any size"
    rng = np.random.default_rng(seed)
    sha = [f'{x:016x}' for x in rng.integers(0, 2**63, n)]
    label = rng.choice(['cat', 'dog', 'fox'], n, p=[.5, .3, .2])
    group = rng.integers(0, groups, n).astype(str) if groups else sha
    return pd.DataFrame(dict(label=label, sha256=sha, group=group, split=''))


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
    picture = draw_picture('cat', 1)
    looks = [difference_hash(picture)]*10_000+['']*10_000, [grey_thumbnail(picture)]*10_000+['']*10_000
    table = pd.DataFrame(dict(sha256=[f'{i:064x}' for i in range(20_000)], dhash=looks[0], thumbnail=looks[1]))
    assert group_duplicates(table).nunique() == 10_001


def looks_of(pictures):
    "What an audit keeps of pictures"
    looks = dict(dhash=[difference_hash(picture) for picture in pictures], thumbnail=[grey_thumbnail(picture) for picture in pictures])
    return pd.DataFrame(dict(sha256=[f'{i:064x}' for i in range(len(pictures))], **looks))


def test_families_are_found_once(tmp_path, monkeypatch):
    monkeypatch.setenv('CATDOG_CACHE', str(tmp_path))
    pictures = [draw_picture('cat', seed) for seed in range(130)]
    table = looks_of([*pictures, *(ImageEnhance.Brightness(picture).enhance(1.1) for picture in pictures)])
    first = group_duplicates(table)
    [kept] = (tmp_path/'copies').iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(duplicates, 'near_copies', None)          # which would be called
        assert group_duplicates(table).equals(first) and first.nunique() < 200
    kept.write_bytes(kept.read_bytes()[:-1]+b'x')
    assert group_duplicates(table).equals(first)                # damaged: found anew
    assert group_duplicates(table.iloc[:250]).nunique() < 200 and len([*(tmp_path/'copies').iterdir()]) == 2


def saved(picture, quality):
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=quality)
    return Image.open(file).convert('RGB')


def cropped(picture, left, top, right, bottom):
    width, height = picture.size
    return picture.crop((int(left*width), int(top*height), int(right*width), int(bottom*height)))


COPIES = {
    'resized': lambda picture: picture.resize((picture.width//2, picture.height//2)),
    'saved again': lambda picture: saved(picture, 40),
    'brightened': lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    'less contrast': lambda picture: ImageEnhance.Contrast(picture).enhance(.7),
    'cropped': lambda picture: cropped(picture, .03, .03, .97, .97),
    'cropped on one side': lambda picture: cropped(picture, .05, .02, .98, .96),
}


def draw_xray(seed):
    "One layout with small differences: chest, lungs, spine, ribs, heart, spots"
    rng, image = np.random.default_rng(seed), Image.new('L', (224, 224), 25)
    draw = ImageDraw.Draw(image)
    chest, lungs, heart = rng.normal(0, 3, 4), rng.normal(0, 4, (2, 4)), rng.normal(0, 5, 4)
    draw.ellipse(tuple(chest+(16, 8, 206, 218)), fill=150)
    for place, left in zip(lungs, (44, 126)): draw.ellipse(tuple(place+(left, 40, left+58, 176)), fill=60)
    draw.rectangle((105, 16, 119, 210), fill=185)
    for rib in range(7): draw.arc((26, 48+18*rib, 200, 84+18*rib), 200, 340, fill=120, width=3)
    draw.ellipse(tuple(heart+(110, 114, 162, 188)), fill=165)
    spots = rng.uniform((50, 50, 4), (170, 160, 14), (rng.integers(0, 5), 3))
    for x, y, side in spots: draw.ellipse((x-side, y-side, x+side, y+side), fill=110)
    noisy = np.asarray(image.filter(ImageFilter.GaussianBlur(2)))+rng.normal(0, 4, (224, 224))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert('RGB')


def draw_part(seed):
    "A part on a table, every second one with a scratch"
    rng, image = np.random.default_rng(seed), Image.new('L', (224, 224), 200)
    draw = ImageDraw.Draw(image)
    draw.ellipse((35, 35, 189, 189), fill=120)
    draw.ellipse((84, 84, 140, 140), fill=200)
    x, y, across, down = rng.uniform((62, 62, -40, -40), (158, 158, 40, 40))
    if seed % 2: draw.line((x, y, x+across, y+down), fill=245, width=3)
    noisy = np.asarray(image.filter(ImageFilter.GaussianBlur(.8)))+rng.normal(0, 5, (224, 224))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert('RGB')


def digit(pixels): return Image.fromarray((pixels*15.9).astype(np.uint8)).resize((28, 28), Image.Resampling.BICUBIC).convert('RGB')


LAYOUTS = {   # Pictures, and how many groups of 100 pictures there are at least
    'X-rays': (lambda n: [draw_xray(i) for i in range(n)], .98),
    'parts': (lambda n: [draw_part(i) for i in range(n)], .98),
    'digits': (lambda n: [digit(pixels) for pixels in load_digits().images[:n]], .98),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_photos_of_one_layout_are_no_copies(layout):
    "They are candidates by the hundred, and all but a few stand alone; what was saved again or resized is found among them"
    draw, least = LAYOUTS[layout]
    pictures = draw(150)
    copies = [saved(picture, 90) for picture in pictures[:8]]+[COPIES['resized'](picture) for picture in pictures[8:16]]
    table = looks_of([*pictures, *copies])
    candidates = near_pairs(np.array([int(text, 16) for text in table.dhash], np.uint64), 10)
    groups = group_duplicates(table)
    assert len(candidates) > 300 and groups[:150].nunique() > least*150
    found = groups[150:].to_numpy() == groups[:16].to_numpy()
    assert found[:8].all() and found.mean() > (.7 if layout == 'digits' else .9)      # small digits have to agree nearly exactly


@pytest.mark.parametrize('layout', LAYOUTS)
def test_given_sides_of_one_layout_have_the_leaks_that_were_planted(layout):
    "Of 60 test photos one is a copy of a training photo; hardly another is called one (two at most)"
    pictures = LAYOUTS[layout][0](160)
    table = looks_of([*pictures, saved(pictures[7], 90)]).assign(split='train')
    table.loc[100:, 'split'] = 'test'
    leaks = find_leaks(table.assign(group=group_duplicates(table)))
    assert leaks[160] and leaks.sum() <= 2, leaks[leaks].index


def test_a_layout_among_other_pictures():
    "What these have in common says little of the layout: copies in it were missed, and pictures joined that are none"
    parts = LAYOUTS['parts'][0](200)
    pictures = [*parts, *(draw_picture('cat', number) for number in range(60))]
    copies = [saved(picture, 40) for picture in pictures[:10]]
    groups = group_duplicates(looks_of([*pictures, *copies]))
    assert (groups[len(pictures):].to_numpy() == groups[:10].to_numpy()).mean() >= .9 and groups[:200].nunique() >= 199


def test_a_small_layout_among_other_pictures():
    "Too few to say what they have in common; of two of them the others say it"
    pictures = [*LAYOUTS['X-rays'][0](80), *(draw_picture('cat', number) for number in range(60))]
    copies = [COPIES['saved again'](picture) for picture in pictures[:10]]
    copies += [cropped(picture, .03, .01, .99, .97) for picture in pictures[10:20]]
    groups = group_duplicates(looks_of([*pictures, *copies]))
    found = groups[140:].to_numpy() == groups[:20].to_numpy()
    assert found[:10].all() and found[10:].mean() >= .8 and groups[:140].nunique() >= 138


CROPPED = {'X-rays': .6, 'digits': .8}     # that are found at least; before the third look hardly any was


@pytest.mark.parametrize('layout', CROPPED)
def test_cropped_copies_in_one_layout_are_found(layout):
    pictures = LAYOUTS[layout][0](300)
    copies = [cropped(picture, .03, .01, .99, .97) for picture in pictures[:20]]
    groups = group_duplicates(looks_of([*pictures, *copies]))
    assert (groups[300:].to_numpy() == groups[:20].to_numpy()).mean() >= CROPPED[layout]
    assert groups[:300].nunique() >= 297


def test_a_layout_can_be_trained_on_with_its_classes_in_their_shares(tmp_path):
    for i in range(80):
        folder = tmp_path/'parts'/('scratched' if i % 2 else 'whole')
        folder.mkdir(parents=True, exist_ok=True)
        draw_part(i).save(folder/f'{i}.png')
    catalogue = make_catalogue(tmp_path/'parts')
    share = (catalogue.split == 'test').groupby(catalogue.label).mean()
    assert (share-.2).abs().max() <= .05 and not [text for text in catalogue.attrs['said'] if 'test has' in text]


def kind_of_data(name, folder):
    "Where the photos of a kind lie, drawn where they are not beside this checkout"
    if name not in ('X-rays', 'digits'): return SHARED/'data'/name
    known = load_digits()
    for i in range(600):
        label = str(known.target[i]) if name == 'digits' else ('covid', 'normal', 'viral')[i % 3]
        (folder/label).mkdir(parents=True, exist_ok=True)
        (digit(known.images[i]) if name == 'digits' else draw_xray(i)).save(folder/label/f'{i}.png')
    return folder


KINDS = {'X-rays': .01, 'trashnet-690': .01, 'caltech101-1680': .01, 'digits': .01}     # most copies that are found among them


@pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='in the long form')
@pytest.mark.parametrize('name, most', KINDS.items())
def test_each_class_has_its_share_on_each_side(name, most, tmp_path):
    folder = kind_of_data(name, tmp_path)
    if not folder.is_dir(): pytest.skip(f'{name} is not beside this checkout')
    catalogue = make_catalogue(folder)
    good = catalogue[catalogue.status != 'skipped']
    share = (good.split == 'test').groupby(good.label).mean()
    print(f'{name}: {share.min():.1%} to {share.max():.1%} of a class in the test, {good.group.duplicated().sum()} copies of {len(good)}')
    assert (share-.2).abs().max() < .05 and good.group.duplicated().mean() < most


@pytest.mark.parametrize('name', ['trashnet-690', 'caltech101-1680', 'catdog-2k'])
def test_copies_of_real_photos_are_found_and_others_are_not(name):
    folder = SHARED/'data'/name
    if not folder.is_dir(): pytest.skip(f'{name} is not beside this checkout')
    paths = sorted(path for path in folder.rglob('*') if path.suffix.lower() in ('.jpg', '.png'))[::8][:160]
    pictures = [open_photo(path) for path in paths]
    planted = [(number, change) for number in range(0, len(pictures), 4) for change in COPIES]
    copies = [COPIES[change](pictures[number]) for number, change in planted]
    groups = group_duplicates(looks_of([*pictures, *copies]))
    together = groups[len(pictures):].to_numpy() == groups[[number for number, _ in planted]].to_numpy()
    found = pd.Series(together).groupby([change for _, change in planted]).mean()
    assert (found.drop(['cropped on one side', 'brightened']) > .9).all() and (found > .75).all(), found
    assert groups[:len(pictures)].nunique() > .97*len(pictures)
    mirrored = group_duplicates(looks_of([*pictures, *[picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]]))
    assert (mirrored[:len(pictures)].to_numpy() == mirrored[len(pictures):].to_numpy()).mean() < .02


def test_twenty_five_thousand_photos_take_no_time():
    rng = np.random.default_rng(0)
    hashes, pixels = rng.integers(0, 2**64, 25_000, np.uint64), rng.integers(0, 256, (25_000, 32, 32)).astype(np.float32)
    hashes[1::50], pixels[1::50] = hashes[::50], pixels[::50]*.9
    start = time.process_time()
    pairs = near_copies(hashes, pixels)
    assert set(map(tuple, pairs)) == {(i, i+1) for i in range(0, 25_000, 50)} and time.process_time()-start < 60


def test_what_belongs_together_lies_on_one_side(pets, tmp_path):
    "By a pattern on names, and by a column of a list"
    for path in pets.rglob('*.jpg'):
        number = int(path.stem.split('.')[1])
        target = tmp_path/'pets'/path.parent.name/f'{path.parent.name}{number//3}_{number%3}.jpg'
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    by_name = make_catalogue(tmp_path/'pets', group=r'(.+)_\d+')
    names = by_name.path.map(lambda path: path.stem.split('_')[0])
    assert names.nunique() == 20 and by_name.group.nunique() == 20 and by_name.split.groupby(names).nunique().max() == 1
    table = pd.DataFrame(dict(path=by_name.path.map(str), label=by_name.label, group=names))
    table.to_csv(tmp_path/'list.csv', index=False)
    assert make_catalogue(tmp_path/'list.csv').split.groupby(names).nunique().max() == 1
    assert make_catalogue(tmp_path/'pets').split.groupby(names).nunique().max() > 1
    with pytest.raises(DataError, match='fits no name'): make_catalogue(tmp_path/'pets', group='(plant.+)-x')


def test_near_copies_can_be_taken_for_different_photos(tmp_path):
    "A burst of one scene cannot be trained on as one group, and the message says so; the same bytes are one photo always"
    for label, seed in (('cat', 1), ('dog', 2)):
        (tmp_path/'pets'/label).mkdir(parents=True)
        for i in range(12): saved(draw_picture(label, seed), 60+3*i).save(tmp_path/'pets'/label/f'{i}.png')
        shutil.copy(tmp_path/'pets'/label/'0.png', tmp_path/'pets'/label/'same.png')
    with pytest.raises(DataError, match='13 photos .* one group of copies.*no-near-copies'): make_catalogue(tmp_path/'pets')
    catalogue = make_catalogue(tmp_path/'pets', near_copies=False)
    assert catalogue.group.nunique() == 24 and set(catalogue.split) == {'train', 'valid', 'test'}


def test_a_class_with_another_share_on_a_side_is_named(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'pets')
    for i, path in enumerate(sorted((tmp_path/'pets'/'cat').iterdir())): path.rename(path.with_name(f'burst{i//15}_{path.name}'))
    said = make_catalogue(tmp_path/'pets', group=r'(burst\d)_.+').attrs['said']
    assert [text for text in said if text.startswith("test has 50% of 'cat'")], said


def test_a_class_without_a_test_photo_is_named_and_the_others_go_on(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'pets')
    (tmp_path/'pets'/'fox').mkdir()
    draw_picture('cat', 99).save(tmp_path/'pets'/'fox'/'only.png')
    catalogue = make_catalogue(tmp_path/'pets')
    assert catalogue.split[catalogue.label == 'fox'].tolist() == ['train']
    assert {"no photo for valid in 'fox'", "no photo for test in 'fox'"} <= set(catalogue.attrs['said'])


def test_a_file_with_two_labels_is_left_out_until_a_verdict_decides(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'pets')
    shutil.copy(tmp_path/'pets'/'cat'/'cat.0.jpg', tmp_path/'pets'/'dog'/'again.jpg')
    catalogue = make_catalogue(tmp_path/'pets')
    assert catalogue[catalogue.status == 'skipped'].path.map(lambda path: path.name).tolist() == ['cat.0.jpg', 'again.jpg']
    assert [text for text in catalogue.attrs['said'] if 'carry two labels' in text]
    add_verdict(tmp_path/'review.csv', catalogue.sha256[catalogue.reason.str.startswith('two')].iloc[0], 'relabel', 'cat')
    assert set(make_catalogue(tmp_path/'pets', review=tmp_path/'review.csv').status) == {'ok'}


def test_a_set_is_its_photos_wherever_they_lie(pets, tmp_path):
    shutil.copytree(pets, tmp_path/'moved')
    assert photos_id(pets) == photos_id(tmp_path/'moved')
    before = make_catalogue(pets)
    (tmp_path/'moved'/'cat'/'cat.0.jpg').rename(tmp_path/'moved'/'dog'/'was-a-cat.jpg')
    (tmp_path/'moved'/'cat'/'cat.1.jpg').unlink()
    draw_picture('dog', 77).save(tmp_path/'moved'/'dog'/'new.png')
    changes = compare_catalogues(before, make_catalogue(tmp_path/'moved'))
    assert photos_id(pets) != photos_id(tmp_path/'moved') and (changes.added, changes.removed, changes.relabelled) == (1, 1, 1)
    assert str(changes) == 'photos changed: 1 added, 1 removed and 1 relabelled'


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
    with Image.open(pets/'cat'/'cat.0.jpg') as image: smaller = image.resize((image.width*2//3, image.height*2//3))
    smaller.save(tmp_path/'pets'/'test'/'cat'/'again.png')
    catalogue = make_catalogue(tmp_path/'pets')
    assert catalogue[catalogue.leak].path.map(lambda p: p.name).tolist() == ['again.png'] and (catalogue.split == 'test').sum() == 21
    done = catdog('audit', tmp_path/'pets')
    assert done.returncode == 0 and '1 of the test photos have a copy' in done.stderr and 'again.png' in done.stderr


def test_training_subsets_share_the_test_photos(pets):
    small, large = (make_catalogue(pets, train_photos=n) for n in (10, 20))
    assert set(small.sha256[small.split == 'train']) < set(large.sha256[large.split == 'train'])
    assert (small.split == 'train').sum() == 10 and (small.sha256[small.split == 'test'] == large.sha256[large.split == 'test']).all()
    assert set(small.split) == {'train', 'valid', 'test', 'unused'}
