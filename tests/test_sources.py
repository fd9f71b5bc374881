"""Photos from elsewhere arrive whole and checked or not at all: servers that break off, wrong checksums, missing members, buckets,
the Hub's format."""
import hashlib
import http.server
import os
import re
import shutil
import threading
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import catdog
from PIL import Image

from catdog.errors import DataError
from catdog.photos.audit import AuditCache
from catdog.photos.catalogue import make_catalogue
from catdog.photos.download import download
from catdog.photos.sources import PUBLISHED, Published, fetch_huggingface, fetch_kaggle, fetch_published, find_photos, unpack_kaggle


class Host(http.server.BaseHTTPRequestHandler):
    "Files of a dictionary; `cut` bytes at most are sent an answer, and `ranges` says whether a range is honoured"
    protocol_version = 'HTTP/1.0'

    def do_GET(self):
        data = self.server.files.get(self.path.lstrip('/'))
        if data is None: return self.send_error(404)
        start = int(re.match(r'bytes=(\d+)-', self.headers.get('Range', 'bytes=0-'))[1]) if self.server.ranges else 0
        self.server.asked.append(start)
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(data)-start))
        self.end_headers()
        self.wfile.write(data[start:][:self.server.cut])

    def log_message(self, *args): pass


@pytest.fixture
def host():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Host)
    server.files, server.cut, server.ranges, server.asked, server.url = {}, 10**9, True, [], f'http://127.0.0.1:{server.server_port}'
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('CATDOG_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'


@pytest.fixture(scope='module')
def archive(pets, tmp_path_factory):
    "A ZIP laid out like Microsoft's"
    path = tmp_path_factory.mktemp('zip')/'kagglecatsanddogs.zip'
    with zipfile.ZipFile(path, 'w') as file:
        for label in ('cat', 'dog'):
            for photo in (pets/label).iterdir(): file.write(photo, f'PetImages/{label.title()}/{photo.name}')
            file.writestr(f'PetImages/{label.title()}/Thumbs.db', b'')
        file.writestr('MSR-LA - 3467.docx', b'licence')
    return path.read_bytes()


def test_download_goes_on_where_the_server_broke_off(host, tmp_path):
    host.files['a.bin'], host.cut = os.urandom(1_000_000), 300_000
    download(f'{host.url}/a.bin', tmp_path/'a.bin', progress=False)
    assert (tmp_path/'a.bin').read_bytes() == host.files['a.bin'] and host.asked == [0, 300_000, 600_000, 900_000]


def test_download_starts_again_where_ranges_are_not_honoured(host, tmp_path):
    host.files['a.bin'], host.ranges = os.urandom(500_000), False
    (tmp_path/'a.bin.part').write_bytes(host.files['a.bin'][:1000])
    download(f'{host.url}/a.bin', tmp_path/'a.bin', progress=False)
    assert (tmp_path/'a.bin').read_bytes() == host.files['a.bin']


def test_download_gives_up_and_keeps_what_arrived(host, tmp_path):
    host.files['a.bin'], host.cut = os.urandom(10_000), 4_000
    host.ranges = False   # so that nothing is ever gained
    with pytest.raises(OSError, match='goes on from there'): download(f'{host.url}/a.bin', tmp_path/'a.bin', progress=False, attempts=2)
    assert [p.name for p in tmp_path.iterdir()] == ['a.bin.part']


@pytest.mark.parametrize('wrong', ['size', 'sha256'])
def test_what_is_not_the_file_is_removed(host, tmp_path, wrong):
    host.files['a.bin'] = b'x'*1000
    expected = {'size': 999, 'sha256': '0'*64}[wrong]
    with pytest.raises(DataError, match='not'): download(f'{host.url}/a.bin', tmp_path/'a.bin', progress=False, **{wrong: expected})
    assert not (tmp_path/'a.bin').exists()


def published(host, archive, **changes):
    host.files['pets.zip'] = archive
    fields = dict(url=f'{host.url}/pets.zip', size=len(archive), sha256=hashlib.sha256(archive).hexdigest(), folder='PetImages',
                  counts={'Cat': 30, 'Dog': 30})
    return Published(**{**fields, **changes})


def test_published_data_set(host, archive, cache, monkeypatch):
    host.cut = len(archive)//3
    monkeypatch.setitem(PUBLISHED, 'microsoft', published(host, archive))
    photos = find_photos('microsoft')
    assert photos.label.value_counts().to_dict() == {'Cat': 30, 'Dog': 30} and photos.attrs['passed_over'] == 2
    asked = len(host.asked)
    find_photos('microsoft')
    assert len(host.asked) == asked > 2, 'fetched again'
    assert [p.name for p in (cache/'sources').iterdir()] == ['microsoft'] and not list((cache/'downloads').iterdir())


def test_missing_members_are_counted(host, archive, cache):
    more = published(host, archive, counts={'Cat': 30, 'Dog': 31})
    with pytest.raises(DataError, match='should hold 31 files in Dog, but 30'): fetch_published('microsoft', more, False)
    assert not list((cache/'sources').iterdir()) and not list((cache/'downloads').iterdir())


def test_damaged_archive(host, archive, cache):
    at = archive.index(b'\xff\xd8')+2000
    broken = archive[:at]+b'damage'+archive[at+6:]
    with pytest.raises(DataError, match='no whole archive'): fetch_published('microsoft', published(host, broken), False)
    assert not list((cache/'sources').iterdir())


def test_host_out_of_reach_names_other_ways(host, archive, cache):
    gone = published(host, archive, url=f'{host.url}/gone.zip')
    others = 'dogscats.*kaggle.*huggingface:microsoft/cats_vs_dogs.*sample'
    with pytest.raises(OSError, match=others): fetch_published('microsoft', gone, False)


def test_known_data_sets_are_those_published():
    "Sizes, counts and the checksum as their publishers give them"
    dogscats, microsoft = PUBLISHED['dogscats'], PUBLISHED['microsoft']
    assert dogscats.size == 839_285_364 and sum(dogscats.counts.values()) == 25_000
    assert microsoft.size == 824_887_076 and sum(microsoft.counts.values()) == 25_000
    assert microsoft.sha256.startswith('b7974bd0')
    from fastai.data.external import URLs
    assert dogscats.url == URLs.DOGS


def test_archive_by_url_with_a_checksum(host, archive, cache):
    host.files['pets.zip'] = archive
    assert len(find_photos(f'{host.url}/pets.zip#sha256={hashlib.sha256(archive).hexdigest()}')) == 60
    with pytest.raises(DataError, match='SHA-256'): find_photos(f'{host.url}/pets.zip#sha256={"0"*64}')


def test_archive_cannot_write_outside(tmp_path, cache):
    import tarfile
    (tmp_path/'evil.txt').write_text('x')
    with tarfile.open(tmp_path/'evil.tar', 'w') as file: file.add(tmp_path/'evil.txt', arcname='../../evil.txt')
    with pytest.raises(DataError, match='outside its folder'): find_photos(tmp_path/'evil.tar')


def test_kaggle_without_credentials_gives_the_steps(cache, monkeypatch, tmp_path):
    for name in ('KAGGLE_USERNAME', 'KAGGLE_KEY', 'KAGGLE_API_TOKEN'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('KAGGLE_CONFIG_DIR', str(tmp_path))
    with pytest.raises(DataError, match=r'kaggle.json.*accept the rules'): fetch_kaggle(progress=False)


def test_kaggle_photos_are_unpacked_and_counted(pets, tmp_path):
    with zipfile.ZipFile(tmp_path/'train.zip', 'w') as file:
        for photo in pets.rglob('*.jpg'): file.write(photo, f'train/{photo.name}')
    assert find_photos(unpack_kaggle(tmp_path, tmp_path/'out', 60)).label.value_counts().to_dict() == {'cat': 30, 'dog': 30}
    with pytest.raises(DataError, match='61 files'): unpack_kaggle(tmp_path, tmp_path/'out2', 61)


def test_huggingface_data_set(pets, cache, tmp_path):
    "A data set in the Hub's own format, on this disk"
    from datasets import ClassLabel, Dataset, Features, Image
    paths = sorted(pets.rglob('*.jpg'))
    columns = dict(image=[str(p) for p in paths], labels=[int(p.parent.name == 'dog') for p in paths])
    table = Dataset.from_dict(columns, Features(image=Image(), labels=ClassLabel(names=['cat', 'dog'])))
    (tmp_path/'hub').mkdir()
    table.map(lambda row: row).to_parquet(tmp_path/'hub'/'train.parquet')
    photos = find_photos(f'huggingface:{tmp_path/"hub"}')
    assert photos.label.value_counts().to_dict() == {'cat': 30, 'dog': 30}
    assert {p.read_bytes() for p in photos.path} == {p.read_bytes() for p in paths}
    Dataset.from_dict(dict(text=['a'])).to_parquet(tmp_path/'hub'/'train.parquet')
    (cache/'sources').exists() and shutil.rmtree(cache/'sources')
    with pytest.raises(DataError, match='no column of images'): fetch_huggingface(str(tmp_path/'hub'), False)


def test_prefix_of_a_bucket(bucket, pets, cache):
    bucket.put(str(pets), 'pets/photos', recursive=True)
    photos = find_photos('s3://pets/photos')
    assert {p.read_bytes() for p in photos.path} == {p.read_bytes() for p in pets.rglob('*.jpg')} and photos.label.nunique() == 2
    bucket.rm('pets/photos', recursive=True)
    assert len(find_photos('s3://pets/photos')) == 60, 'fetched once'
    with pytest.raises((DataError, OSError), match='s3://pets/none'): find_photos('s3://pets/none')
    assert not [p for p in (cache/'sources').iterdir() if 'none' in p.name]


def test_archive_in_a_bucket_goes_on(bucket, archive, cache, tmp_path):
    bucket.pipe('pets/pets.zip', archive)
    (tmp_path/'pets.zip.part').write_bytes(archive[:5000])
    download('s3://pets/pets.zip', tmp_path/'pets.zip', progress=False)
    assert (tmp_path/'pets.zip').read_bytes() == archive
    assert len(find_photos('s3://pets/pets.zip')) == 60


def test_flat_folder_list_and_local_archive_are_sources_of_a_run(pets, tmp_path):
    "The command takes them all the way to the audit"
    (tmp_path/'flat').mkdir()
    for photo in pets.rglob('*.jpg'): shutil.copy(photo, tmp_path/'flat')
    (tmp_path/'list.csv').write_text('path,label\n'+''.join(f'flat/{p.name},{p.name[:3]}\n' for p in sorted((tmp_path/'flat').iterdir())))
    shutil.make_archive(str(tmp_path/'pets'), 'gztar', pets)
    for data in (tmp_path/'flat', tmp_path/'flat'/'{label}.{id}.jpg', tmp_path/'list.csv', tmp_path/'pets.tar.gz'):
        done = catdog('audit', data)
        assert done.returncode == 0 and '60 files: 60 ok' in done.stderr, done.stderr


def lay_out(root, names, seed=0):
    "Small pictures of noise, each of its own content, at these paths; other files get their own name as text"
    rng = np.random.default_rng(seed)
    for name in names:
        path = root/name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == '.png': Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
        else: path.write_text(name)
    return root


def pictures(*folders, n=2): return [f'{folder}/{number}.png' for folder in folders for number in range(n)]


LAYOUTS = {   # Files, classes by side, and what must be said
    'a class called train': (pictures('bus', 'car', 'train'), {'': 'bus car train'}, []),
    'only train': (pictures('train/cat', 'train/dog'), {'': 'cat dog'}, ['only train/ is there']),
    'train and a flat test': (pictures('train/cat', 'train/dog', 'test'), {'': 'cat dog'}, ['test/ (2 files)', 'drawn from it']),
    'dev': (pictures('train/cat', 'train/dog', 'dev/cat', 'dev/dog'), {'train': 'cat dog', 'valid': 'cat dog'}, []),
    'Training and Evaluation': (pictures('Training/cat', 'Training/dog', 'Evaluation/cat', 'Evaluation/dog'),
                               {'train': 'cat dog', 'test': 'cat dog'}, []),
    'seg_train in seg_train': (pictures(*[f'seg_{side}/seg_{side}/{label}' for side in ('train', 'test') for label in ('sea', 'wood')]),
                               {'train': 'sea wood', 'test': 'sea wood'}, []),
    'results beside classes': ([*pictures('cat', 'dog', 'runs/one/cat'), 'runs/one/run.json', 'card/card.html', 'report/report.html'],
                               {'': 'cat dog'}, ['3 folders of results', 'runs/', 'card/', 'report/']),
    'a folder without a photo': ([*pictures('cat', 'dog'), 'notes/todo.txt'],
                               {'': 'cat dog'}, ['1 folder without a photo', 'notes/ (1 file)']),
    'photos beside classes': ([*pictures('cat', 'dog'), 'loose.png'], {'': 'cat dog'}, ['1 photo beside the class folders', 'loose.png']),
    'folds': (pictures('fold1/cat', 'fold1/dog', 'fold2/cat', 'fold2/dog'),
                               {'': 'cat dog'}, ['fold1/ and fold2/', 'these are the classes']),
    'images and masks': (pictures('covid/images', 'covid/masks', 'normal/images', 'normal/masks'),
                               {'': 'covid normal'}, ['images is read, not masks']),
    'one folder around': (pictures('PetImages/Cat', 'PetImages/Dog'), {'': 'Cat Dog'}, []),
    'names of letters': (pictures('a', 'A'), {'': 'A a'}, ['differ by capitals only']),
    'a class called report': (pictures('report', 'card'), {'': 'card report'}, []),
    'train with an unlabelled folder': (pictures('train/cat', 'train/dog', 'unlabelled'), {'': 'cat dog'}, ['unlabelled/ (2 files)']),
    'a space at the end': (pictures('train/cat ', 'train/dog', 'test/cat', 'test/dog'), {'train': 'cat dog', 'test': 'cat dog'}, []),
    'Kaggle': ([f'train/{label}.{number}.png' for label in ('cat', 'dog') for number in range(3)]+['test1/1.png', 'test1/2.png'],
               {'': 'cat dog'}, ['test1/ (2 files)']),
    'short names of sides': (pictures('trn/cat', 'trn/dog', 'tst/cat', 'tst/dog'), {'train': 'cat dog', 'test': 'cat dog'}, []),
    'two folders around': (pictures('data/images/cat', 'data/images/dog'), {'': 'cat dog'}, []),
    'a folder of photos without labels': (pictures('cat', 'dog', 'unlabeled'), {'': 'cat dog'}, ['unlabeled/ (2 files)']),
    'a class of things without labels': (pictures('labelled', 'torn', 'unlabelled'), {'': 'labelled torn unlabelled'}, []),
    'thumbnails of a network drive': (pictures('cat', 'dog', 'cat/@eaDir/0.png', '@eaDir/cat'), {'': 'cat dog'}, []),
    'accents in two forms': (pictures('caf\u00e9', 'cafe\u0301', 'tea'), {'': 'caf\u00e9 tea'}, []),
    'letters of all kinds': (pictures('\u202egod', '🐱', ' # $x$', "it's"), {'': "# $x$ it's \u202egod 🐱"}, []),
    'classes that hold the sides': (pictures('cat/train', 'cat/test', 'dog/train', 'dog/test'), {'train': 'cat dog', 'test': 'cat dog'},
                               ['classes are cat/ and dog/, each with the sides of a split']),
    'sides without labels': (pictures('train/n01/images', 'train/n02/images', 'val/images', 'test/images'), {'': 'n01 n02'},
                               ['val/ (2 files)', 'test/ (2 files)', 'drawn from it']),
    'test strips': (pictures('test_positive', 'test_negative'), {'': 'test_negative test_positive'}, []),
    'signs': ([*pictures('Train/0', 'Train/1', 'Test', 'Meta'), 'Train.csv'], {'': '0 1'}, ['Test/ (2 files)', 'Meta/ (2 files)']),
    'marks without a width': (pictures('cat', 'cat\u200b', '\ufeffdog', 'sea  lion', 'sea\xa0lion'), {'': 'cat dog sea lion'}, []),
    'letters of two alphabets': (pictures('cat', 'с\u0430t', 'sea-lion', 'sea_lion'), {'': 'cat sea-lion sea_lion с\u0430t'},
                               ["'cat' and 'с\u0430t' are written almost alike", "'sea-lion' and 'sea_lion' are written almost alike"]),
    'a folder for what has no label': (pictures('0', '1', '-1'), {'': '-1 0 1'}, ["'-1' is taken for the name of a class (2 photos)"]),
    'degrees': (pictures('-5', '5', '15', '1 5'), {'': '-5 1 5 15 5'}, []),
    'flat': ([f'{label}.{number}.png' for label in ('cat', 'dog') for number in range(3)], {'': 'cat dog'}, []),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_layout_is_read_by_what_folders_hold(layout, tmp_path):
    files, expected, texts = LAYOUTS[layout]
    found = find_photos(lay_out(tmp_path/'photos', files))
    sides = {side: ' '.join(sorted(set(part.label))) for side, part in found.groupby('split')}
    assert sides == expected, found.attrs
    for text in texts: assert text in ' | '.join(found.attrs['said'])


REFUSED = {   # Files, and what the message says
    'a class of damaged HEIC': (['cat/1.heic', *pictures('dog', 'fox')], "class 'cat' .* no photos that can be read: .*1.heic"),
    'a name of spaces': (pictures('cat', ' \u200b'), 'has a label without a letter'),
    'one class': (pictures('cat'), 'no class folders|one class'),
    'one class beside an empty folder': ([*pictures('cat'), 'dog/none.txt'], 'dog holds no photos'),
    'sides without classes': (pictures('train', 'val', 'test'), 'train/ and val/ in .* are sides of a split, and hold photos but no class'),
    'photos and boxes by side': ([*pictures('images/train', 'images/val'), 'labels/train/0.txt'], 'no class folders: put the photos'),
    'a dash on one side': (pictures('train/sea-lion', 'train/dog', 'test/sea_lion', 'test/dog'), 'are written almost alike and are never'),
    'names on two sides': (pictures('train/Cat', 'train/dog', 'test/cat', 'test/dog'), 'differ by capitals only'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_cannot_be_read_is_said(case, tmp_path):
    files, text = REFUSED[case]
    lay_out(tmp_path/'photos', files)
    for path in (tmp_path/'photos').rglob('*.heic'): path.write_bytes(b'\0\0\0\x18ftypheic'+bytes(100))
    with pytest.raises(DataError, match=text): make_catalogue(tmp_path/'photos')


@pytest.mark.skipif(os.name == 'nt', reason='links need rights on Windows')
def test_links_are_followed_once_and_never_round(tmp_path):
    lay_out(tmp_path/'real', pictures('cat', 'dog'))
    (tmp_path/'linked').mkdir()
    for label in ('cat', 'dog'): os.symlink(tmp_path/'real'/label, tmp_path/'linked'/label)
    for name, target in (('round', tmp_path/'linked'), ('up', tmp_path), ('broken.png', tmp_path/'none.png')):
        os.symlink(target, tmp_path/'linked'/name)
    found = find_photos(tmp_path/'linked')
    assert found.label.value_counts().to_dict() == dict(cat=2, dog=2)
    assert "3 names left out, no plain file or no text: broken.png, round and up" in found.attrs['said']


def test_a_class_missing_from_the_test_goes_on(tmp_path):
    files = pictures('train/cat', 'train/dog', 'train/fox', 'test/cat', 'test/dog', n=6)
    catalogue = make_catalogue(lay_out(tmp_path/'photos', files))
    assert "no photo for test in 'fox'" in catalogue.attrs['said'] and (catalogue.split == 'test').sum() == 12


def test_audit_says_the_classes_and_what_was_left_out(tmp_path):
    lay_out(tmp_path/'photos', [*pictures('cat', 'dog', n=5), 'runs/a/run.json', 'loose.png'])
    done = catdog('audit', '.', cwd=tmp_path/'photos')
    assert done.returncode == 0 and '2 classes: cat 5 and dog 5' in done.stderr, done.stderr
    assert 'runs/' in done.stderr and 'loose.png' in done.stderr


LISTS = {   # Bytes of a CSV, and its labels
    'semicolons': ('path;label\np/0.png;cat\np/1.png;dog\n'.encode(), 'cat dog'),
    'tabs and a mark': ('path\tlabel\np/0.png\tcat\np/1.png\tdog\n'.encode('utf-8-sig'), 'cat dog'),
    'Latin-1': ('path,label\np/0.png,Käse\np/1.png,Brot\n'.encode('latin-1'), 'Käse Brot'),
    'UTF-16': ('path\tlabel\np/0.png\tKäse\np/1.png\tBrot\n'.encode('utf-16'), 'Käse Brot'),
    'backslashes': (b'path,label\np\\0.png,cat\n.\\p\\1.png,dog\n', 'cat dog'),
    'spaces and capitals': (b' Path , LABEL\np/0.png, cat \np/1.png,dog\n', 'cat dog'),
    'classes that are paths': (b'path,label\np/0.png,food/fruit\np/1.png,..\n', 'food/fruit ..'),
    'numbers': (b'path,label\np/0.png,0\np/1.png,1\n', '0 1'),
    'whole numbers as pandas writes them': (b'path,label\np/0.png,0.0\np/1.png,1.0\n', '0 1'),
    'versions': (b'path,label\np/0.png,1.0\np/1.png,1.5\n', '1.0 1.5'),
    'a first line of Excel': (b'sep=;\r\npath;label\r\np/0.png;cat\r\np/1.png;dog\r\n', 'cat dog'),
    'other names of columns': (b'filename,class\np/0.png,cat\np/1.png,dog\n', 'cat dog'),
    'rows that repeat': (b'path,label\np/0.png,cat\np/1.png,dog\np/0.png,cat\n', 'cat dog'),
    'a separator at each end': (b'path,label\np/0.png,cat,\np/1.png,dog,\n', 'cat dog'),
    'names alone': (b'image_id,breed\n0,cat\n1,dog\n', 'cat dog'),
    'a path in three ways': (b'path,label\np/0.png,cat\n{folder}/p/0.png,cat\np/../p/0.png,cat\np/1.png,dog\n', 'cat dog'),
    'a word for nothing': (b'path,label\np/0.png,None\np/1.png,dog\n', 'None dog'),
    'zeros in front': (b'path,label\np/0.png,007\np/1.png,7\n', '007 7'),
    'marks without a width': ('path,label\np/0.png,cat\u200b\np/1.png,\u200edog\n'.encode(), 'cat dog'),
    'addresses of files': (b'path,label\nfile://{folder}/p/0.png,cat\nfile://{folder}/p/1.png,dog\n', 'cat dog'),
}


TOLD = ('Latin-1', 'UTF-16', 'other names of columns', 'rows that repeat', 'names alone', 'a path in three ways', 'a word for nothing')


@pytest.mark.parametrize('case', LISTS)
def test_lists_as_spreadsheets_write_them(case, tmp_path):
    data, labels = LISTS[case]
    lay_out(tmp_path, pictures('p'))
    (tmp_path/'list.csv').write_bytes(data.replace(b'{folder}', str(tmp_path).encode()))
    found = find_photos(tmp_path/'list.csv')
    assert ' '.join(found.label) == labels and all(path.is_file() for path in found.path)
    assert bool(found.attrs['said']) == (case in TOLD)


BAD_LISTS = {   # Text of a CSV, and what is said of it
    'no row': ('path,label\n', 'lists no photo'), 'no columns': ('p/0.png,cat\np/1.png,dog\n', 'the first line names the columns'),
    'two that may be the path': ('image,file,label\na,b,c\n', "no column 'path'"), 'nothing': ('', 'cannot be read as a table'),
    'a web page': ('<!DOCTYPE html><html>404</html>', "no column 'path'"),
    'too long a row': ('path,label\np/0.png,cat\na,b,c,d\n', 'cannot be read'),
    'a path on two lines': ('path,label\np/0.png,cat\n"p/a\nb.png",dog\n', r"lists 1 file that is not there, '.*a\\nb.png'"),
    'an unknown side': ('path,label,split\np/0.png,cat,foo\np/1.png,dog,\n', "split 'foo' is none of")}


@pytest.mark.parametrize('case', BAD_LISTS)
def test_a_list_that_cannot_be_read_is_one_line(case, tmp_path):
    text, said = BAD_LISTS[case]
    lay_out(tmp_path, pictures('p'))
    (tmp_path/'list.csv').write_text(text)
    with pytest.raises(DataError, match=said) as error: find_photos(tmp_path/'list.csv')
    assert len(str(error.value).splitlines()) == 1


def test_a_list_beside_its_photos_is_taken_for_the_folder(tmp_path):
    lay_out(tmp_path/'photos', [*pictures('all', n=4), 'README.md'])
    rows = [f'all/{i}.png,{label}\n' for i, label in enumerate(['cat', 'dog']*2)]
    (tmp_path/'photos'/'labels.csv').write_text('file_name,label\n'+''.join(rows))
    found = find_photos(tmp_path/'photos')
    assert found.label.tolist() == ['cat', 'dog']*2 and 'labels are read from labels.csv' in found.attrs['said']
    (tmp_path/'photos'/'notes.csv').write_text('a,b\n1,2\n')
    assert find_photos(tmp_path/'photos').label.tolist() == ['cat', 'dog']*2
    (tmp_path/'photos'/'other.csv').write_text('file_name,label\n'+''.join(rows))
    with pytest.raises(DataError, match='one class'): find_photos(tmp_path/'photos')
    (tmp_path/'packed').mkdir()
    (tmp_path/'packed'/'train.zip').write_bytes(b'PK')
    with pytest.raises(DataError, match=r'holds archives \(train.zip\): unpack them'): find_photos(tmp_path/'packed')


def test_a_list_for_each_side(tmp_path):
    lay_out(tmp_path/'photos', pictures('all', n=4))
    for side, numbers in (('train', (0, 1)), ('test', (2, 3))):
        rows = [f'{number},{label}\n' for number, label in zip(numbers, ('cat', 'dog'))]
        (tmp_path/'photos'/f'{side}.csv').write_text('image_id,label\n'+''.join(rows))
    found = find_photos(tmp_path/'photos')
    assert found.groupby('split').label.agg(' '.join).to_dict() == dict(train='cat dog', test='cat dog'), found
    assert 'labels are read from test.csv and train.csv' in found.attrs['said'], found.attrs


def test_a_folder_called_like_a_source_is_named(tmp_path, monkeypatch, cache):
    lay_out(tmp_path/'sample', pictures('cat', 'dog'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('catdog.photos.sources.SAMPLE_SIZE', 4)
    assert [text for text in find_photos('sample').attrs['said'] if "the folder of that name is './sample'" in text]
    assert len(find_photos('./sample')) == 4 and not find_photos('./sample').attrs['said']


@pytest.mark.parametrize('how', ['cut', 'emptied', 'flipped', 'missing'])
def test_a_damaged_sample_is_drawn_anew(cache, monkeypatch, how, capsys):
    monkeypatch.setattr('catdog.photos.sources.SAMPLE_SIZE', 4)
    photos = find_photos('sample').path.tolist()
    before, data = [path.read_bytes() for path in photos], bytearray(photos[0].read_bytes())
    data[len(data)//2] ^= 1
    if how == 'missing': photos[0].unlink()
    else: photos[0].write_bytes(dict(cut=data[:99], emptied=b'', flipped=data)[how])
    assert [path.read_bytes() for path in find_photos('sample').path] == before and 'drawn anew' in capsys.readouterr().err


PATTERNS = {'sample/{label}/{id}.png': 'folders that are classes need no pattern', 'sample/{class}_{id}.png': 'names no {label}'}


@pytest.mark.parametrize('pattern', PATTERNS)
def test_a_pattern_that_is_none_is_explained(pattern, tmp_path):
    lay_out(tmp_path/'sample', pictures('cat', 'dog'))
    with pytest.raises(DataError, match=PATTERNS[pattern]): find_photos(tmp_path/pattern)


def test_names_in_an_archive_of_macos(tmp_path, cache):
    "Its bytes are UTF-8, and nothing says so"
    written = {b'Kaese': 'K\u00e4se', b'cat': '\u732b'}
    with zipfile.ZipFile(tmp_path/'pets.zip', 'w') as file:
        folders = lay_out(tmp_path/'photos', pictures('Kaese', 'cat'))
        for path in folders.rglob('*.png'): file.write(path, f'{path.parent.name}/{path.name}')
    data = (tmp_path/'pets.zip').read_bytes()
    for plain, name in written.items(): data = data.replace(plain+b'/', name.encode()+b'/')
    (tmp_path/'pets.zip').write_bytes(data)
    assert sorted(set(find_photos(tmp_path/'pets.zip').label)) == ['K\u00e4se', '\u732b']


def test_folders_without_end(tmp_path):
    "Deeper than any person makes them: named, not followed"
    deep = '/'.join(['d']*300)
    lay_out(tmp_path/'photos', [*pictures('cat', 'dog'), f'cat/{deep}/0.png'])
    found = find_photos(tmp_path/'photos')
    assert len(found) == 4 and [text for text in found.attrs['said'] if 'name left out' in text]


def test_sides_as_fastai_writes_them(tmp_path):
    lay_out(tmp_path, pictures('p'))
    (tmp_path/'list.csv').write_text('path,label,is_valid\np/0.png,cat,True\np/1.png,dog,False\n')
    assert find_photos(tmp_path/'list.csv').split.tolist() == ['valid', 'train']


def test_columns_that_are_no_text_are_refused(tmp_path):
    lay_out(tmp_path, pictures('p'))
    inside = pd.DataFrame(dict(image=[dict(bytes=b'x'*10**6, path='p/0.png')]*2, label=['cat', 'dog']))
    several = pd.DataFrame(dict(path=['p/0.png', 'p/1.png'], label=[['cat', 'dog'], ['dog']]))
    numbers = pd.DataFrame(dict(path=[1, 2], label=['cat', 'dog']))
    for table, said in ((inside, 'path holds the photos themselves'), (several, 'a photo has 2 labels'), (numbers, 'holds no text')):
        table.to_parquet(tmp_path/'list.parquet')
        with pytest.raises(DataError, match=said) as error: find_photos(tmp_path/'list.parquet')
        assert len(str(error.value)) < 300


COLUMNS = {   # Labels of a parquet file, and the labels they become; None where they are refused
    'integers': ([0, 1], ['0', '1']),
    'truth values': ([True, False], ['True', 'False']),
    'floats': ([1., 2.], ['1', '2']),
    'categories': (pd.Categorical(['cat', 'dog']), ['cat', 'dog']),
    'minus one': ([0, -1], None),
    'NaN': ([1., float('nan')], None),
    'None': (['cat', None], None),
    'nothing': (['cat', ' '], None),
}


@pytest.mark.parametrize('case', COLUMNS)
def test_labels_are_text_and_never_missing(case, tmp_path):
    given, labels = COLUMNS[case]
    lay_out(tmp_path, pictures('p'))
    pd.DataFrame(dict(path=['p/0.png', 'p/1.png'], label=given)).to_parquet(tmp_path/'list.parquet')
    if labels: assert find_photos(tmp_path/'list.parquet').label.tolist() == labels
    else:
        with pytest.raises(DataError, match='label of 1 photo is missing .* for p/1.png'): find_photos(tmp_path/'list.parquet')


def test_accents_of_a_list_and_of_the_disk(tmp_path):
    "One has them as letters of their own, as macOS writes them"
    lay_out(tmp_path, ['K\u00e4se.png', 'Bru\u0308cke.png'])
    (tmp_path/'list.csv').write_text('path,label\nKa\u0308se.png,cat\nBr\u00fccke.png,dog\n')
    assert [path.is_file() for path in find_photos(tmp_path/'list.csv').path] == [True, True]


OTHER_ARCHIVES = {'.7z': (b"7z\xbc\xaf'\x1c", 'a 7-Zip archive'), '.rar': (b'Rar!\x1a\x07\0', 'a RAR archive'),
    '.tar.zst': (b'\x28\xb5\x2f\xfd\x24', 'a Zstandard file'), '.txt': (b'p/0.png cat\n', 'plain text')}


@pytest.mark.parametrize('suffix', OTHER_ARCHIVES)
def test_a_file_of_another_kind_is_named(suffix, tmp_path):
    data, kind = OTHER_ARCHIVES[suffix]
    (tmp_path/f'photos{suffix}').write_bytes(data)
    with pytest.raises(DataError, match=f'is {kind}: catdog reads lists .* and archives .*zip'): find_photos(tmp_path/f'photos{suffix}')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='pipes in folders are POSIX')
def test_what_never_ends_is_named_and_not_read(tmp_path):
    lay_out(tmp_path, pictures('p/cat', 'p/dog'))
    os.mkfifo(tmp_path/'p'/'cat'/'pipe.png')
    assert 'pipe.png' in ' '.join(find_photos(tmp_path/'p').attrs['said'])
    for path in (tmp_path/'p'/'cat'/'pipe.png', '/dev/zero'):
        (tmp_path/'list.csv').write_text(f'path,label\np/cat/0.png,cat\n{path},dog\n')
        with pytest.raises(DataError, match='no plain file'): find_photos(tmp_path/'list.csv')
    with pytest.raises(DataError, match='neither a folder nor a plain file'): find_photos(tmp_path/'p'/'cat'/'pipe.png')
    assert AuditCache(tmp_path/'audit.sqlite').contents([str(tmp_path/'p'/'cat'/'pipe.png'), '/dev/zero']) == {}


@pytest.mark.skipif(os.name == 'nt', reason='names are text on Windows')
def test_a_name_that_is_no_text_is_left_out_by_name(tmp_path):
    lay_out(tmp_path/'p', pictures('cat', 'dog', n=6))
    os.rename(tmp_path/'p'/'cat'/'0.png', os.fsencode(tmp_path/'p'/'cat')+b'/K\xe4se.png')
    catalogue = make_catalogue(tmp_path/'p')
    assert len(catalogue) == 11 and '1 name left out, no plain file or no text: Käse.png' in catalogue.attrs['said']


def test_a_signed_address_leaves_no_trace(host, archive, cache):
    "Signed anew it is the same photos; neither a message nor a name in the cache holds the key"
    host.files['pets.zip?X-Amz-Signature=s3cr3t'] = archive
    assert len(find_photos(f'{host.url}/pets.zip?X-Amz-Signature=s3cr3t')) == 60
    asked = len(host.asked)
    assert len(find_photos(f'{host.url}/pets.zip?X-Amz-Signature=0ther')) == 60 and len(host.asked) == asked
    for address in ('none.zip?X-Amz-Signature=s3cr3t', 'photos?X-Amz-Signature=s3cr3t'):
        with pytest.raises((OSError, DataError)) as told: find_photos(f'{host.url}/{address}')
        assert 's3cr3t' not in str(told.value) and host.url in str(told.value)
    assert not [path for path in cache.rglob('*') if 's3cr3t' in path.name]


def test_classes_of_the_hub_never_become_paths(pets, cache, tmp_path):
    from datasets import ClassLabel, Dataset, Features, Image as Picture
    names = ['../../outside', '/etc', 'food/fruit', '..', '.hidden', 'x'*250]
    paths = [str(path) for path in sorted(pets.rglob('*.jpg'))[:12]]
    features = Features(image=Picture(), labels=ClassLabel(names=names))
    table = Dataset.from_dict(dict(image=paths, labels=[i % 6 for i in range(11)]+[-1]), features)
    (tmp_path/'hub').mkdir()
    table.map(lambda row: row).to_parquet(tmp_path/'hub'/'train.parquet')
    found = find_photos(f'huggingface:{tmp_path/"hub"}')
    assert set(found.label) == set(names) and len(found) == 11
    inside = (cache/'sources').resolve()
    assert all(path.resolve().is_relative_to(inside) and '..' not in path.parts for path in found.path)


def test_the_longest_label_is_taken(tmp_path):
    names = ['american_pit_bull_terrier_1.png', 'american_bulldog_12.png', 'pug_3.png']
    found = find_photos(lay_out(tmp_path/'p', names)/'{label}_{id}.png')
    assert sorted(found.label) == ['american_bulldog', 'american_pit_bull_terrier', 'pug']
