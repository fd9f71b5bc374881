"""Photos from elsewhere arrive whole and checked or not at all: servers that break off, wrong checksums, missing members, buckets, the Hub's format."""
import hashlib
import http.server
import os
import re
import shutil
import threading
import zipfile

import pytest
from conftest import catdog

from catdog.errors import DataError
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
    with pytest.raises(DataError, match='not'): download(f'{host.url}/a.bin', tmp_path/'a.bin', progress=False, **{'size': dict(size=999), 'sha256': dict(sha256='0'*64)}[wrong])
    assert not (tmp_path/'a.bin').exists()


def published(host, archive, **changes):
    host.files['pets.zip'] = archive
    return Published(**{**dict(url=f'{host.url}/pets.zip', size=len(archive), sha256=hashlib.sha256(archive).hexdigest(), folder='PetImages', counts={'Cat': 30, 'Dog': 30}), **changes})


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
    with pytest.raises(DataError, match='should hold 31 files in Dog, but 30'): fetch_published('microsoft', published(host, archive, counts={'Cat': 30, 'Dog': 31}), False)
    assert not list((cache/'sources').iterdir()) and not list((cache/'downloads').iterdir())


def test_damaged_archive(host, archive, cache):
    at = archive.index(b'\xff\xd8')+2000
    broken = archive[:at]+b'damage'+archive[at+6:]
    with pytest.raises(DataError, match='no whole archive'): fetch_published('microsoft', published(host, broken), False)
    assert not list((cache/'sources').iterdir())


def test_host_out_of_reach_names_other_ways(host, archive, cache):
    with pytest.raises(OSError, match="dogscats.*kaggle.*huggingface:microsoft/cats_vs_dogs.*sample"): fetch_published('microsoft', published(host, archive, url=f'{host.url}/gone.zip'), False)


def test_known_data_sets_are_those_published():
    "Sizes, counts and the checksum as their publishers give them"
    assert PUBLISHED['dogscats'].size == 839_285_364 and sum(PUBLISHED['dogscats'].counts.values()) == 25_000
    assert PUBLISHED['microsoft'].size == 824_887_076 and PUBLISHED['microsoft'].sha256.startswith('b7974bd0') and sum(PUBLISHED['microsoft'].counts.values()) == 25_000
    from fastai.data.external import URLs
    assert PUBLISHED['dogscats'].url == URLs.DOGS


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
    table = Dataset.from_dict(dict(image=[str(p) for p in paths], labels=[int(p.parent.name == 'dog') for p in paths]), Features(image=Image(), labels=ClassLabel(names=['cat', 'dog'])))
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
