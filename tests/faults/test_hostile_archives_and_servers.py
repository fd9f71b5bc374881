"Archives that lead outside, links, floods and damage; servers that change, mistake the range, drip or never end."
import base64
import gzip
import http.server
import io
import os
import re
import tarfile
import threading
import time
import zipfile

import pytest

from catdog.errors import DataError
from catdog.files import making
from catdog.photos import download as module
from catdog.photos.download import download, unpack


def tar(path, *members):
    "A tar archive of (name, content or TarInfo's fields)"
    with tarfile.open(path, 'w:gz') as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for field, value in content.items(): setattr(info, field, value)
                content = b''
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def link(target, kind=tarfile.SYMTYPE): return dict(type=kind, linkname=target)


def refused(archive, where, match):
    "An archive is refused with a reason, and nothing is left of it"
    with pytest.raises(DataError, match=match):
        with making(where/'out') as folder: unpack(archive, folder)
    assert sorted(p.name for p in where.iterdir()) == sorted({archive.name, *(['victim'] if (where/'victim').exists() else [])})


def deep_links(victim):
    "Links that lengthen a path beyond what the system resolves, and then lead outside"
    part, steps, members, path = 'd'*240, 'abcdefghijklmnop', [], ''
    for step in steps:
        members += [(path+part, dict(type=tarfile.DIRTYPE)), (path+step, link(part))]
        path += f'{part}/'
    long = '/'.join(steps)+'/'+'l'*254
    members.append((long, link('../'*len(steps))))
    return [*members, ('escape', link(f'{long}/../..{victim.parent}')), (f'escape/{victim.name}', b'overwritten')]


@pytest.mark.parametrize('kind', ['../', 'absolute', 'link', 'hard link', 'through a link', 'deep links', 'device', 'FIFO'])
def test_a_tar_writes_nothing_outside(tmp_path, kind):
    victim = tmp_path/'victim'
    victim.write_text('untouched')
    members = {
        '../': [('../victim', b'x')], 'absolute': [(str(victim), b'x')], 'link': [('cat/1.jpg', link('/etc/passwd'))],
        'hard link': [('h', link(str(victim), tarfile.LNKTYPE)), ('h', b'x')],
        'through a link': [('out', link('..')), ('out/victim', b'x')],
        'deep links': deep_links(victim), 'device': [('zero', dict(type=tarfile.CHRTYPE, devmajor=1, devminor=5))],
        'FIFO': [('pipe', dict(type=tarfile.FIFOTYPE))]}
    refused(tar(tmp_path/'a.tar.gz', *members[kind]), tmp_path, 'outside|link or a device')
    assert victim.read_text() == 'untouched'


NO_ARCHIVES = {  # Bytes of a file called a.zip, and what is said of it
    'a web page': (b'<!DOCTYPE html>404', 'it is a web page'), 'nothing': (b'', 'it is empty'),
    'RAR': (b'Rar!\x1a\x07\0', 'it is a RAR archive'),
    'half': (b'PK\x03\x04'+bytes(600), 'cut short or damaged'), 'no file': (b'PK\x05\x06'+bytes(18), 'without a file in it')}


@pytest.mark.parametrize('case', NO_ARCHIVES)
def test_what_is_no_archive_is_said_in_a_line(tmp_path, case):
    data, said = NO_ARCHIVES[case]
    (tmp_path/'a.zip').write_bytes(data)
    with pytest.raises(DataError, match=said) as error: unpack(tmp_path/'a.zip', tmp_path)
    assert len(str(error.value).splitlines()) == 1


HEADERS = {  # Members that cost more than they hold
    'a long name': (tarfile.GNUTYPE_LONGNAME, {}, 'holds a header of 2.1 MB'),
    'a long link': (tarfile.GNUTYPE_LONGLINK, {}, 'holds a header of 2.1 MB'),
    'extended': (tarfile.XHDTYPE, {}, 'holds a header of 2.1 MB'), 'for all': (tarfile.XGLTYPE, {}, 'holds a header of 2.1 MB'),
    'sparse': (tarfile.GNUTYPE_SPARSE, {}, 'holds a sparse file'),
    'sparse of 2005': (tarfile.REGTYPE,
        {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'x', 'GNU.sparse.realsize': '9'}, 'sparse'),
    'sparse of 2004': (tarfile.REGTYPE, {'GNU.sparse.map': '0,1', 'GNU.sparse.size': '6000000000000'}, 'sparse')}


@pytest.mark.parametrize('case', HEADERS)
def test_a_tar_header_costs_no_memory(tmp_path, case):
    kind, fields, said = HEADERS[case]
    with tarfile.open(tmp_path/'a.tar.gz', 'w:gz', format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo('cat/1.jpg')
        info.type, info.pax_headers, info.size = kind, fields, 2_100_000 if kind != tarfile.REGTYPE else 512
        data = info.tobuf(tarfile.PAX_FORMAT)+bytes(info.size)
        file.fileobj.write(data+bytes(-len(data) % 512))
    refused(tmp_path/'a.tar.gz', tmp_path, said)


def test_a_chain_of_headers_ends(tmp_path):
    with tarfile.open(tmp_path/'a.tar.gz', 'w:gz') as file:
        for _ in range(5_000):
            info = tarfile.TarInfo('x')
            info.type = tarfile.XGLTYPE
            file.fileobj.write(info.tobuf(tarfile.USTAR_FORMAT))
    refused(tmp_path/'a.tar.gz', tmp_path, 'no whole archive')


def test_many_members_take_no_memory(tmp_path):
    import tracemalloc
    tar(tmp_path/'a.tar.gz', *[(f'cat/{i}.jpg', b'') for i in range(700)])
    tracemalloc.start()
    with making(tmp_path/'out') as folder: unpack(tmp_path/'a.tar.gz', folder)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(list((tmp_path/'out'/'cat').iterdir())) == 700 and most < 550_000


@pytest.mark.parametrize('name', ['../victim', '/victim', 'C:/victim', '..\\victim', 'a/../../victim'])
def test_a_zip_writes_nothing_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as file: file.writestr(name, 'x')
    refused(tmp_path/'a.zip', tmp_path, 'outside')


def test_an_encrypted_zip_says_so(tmp_path):
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as file: file.writestr('cat/1.jpg', b'x')
    data = bytearray((tmp_path/'a.zip').read_bytes())
    for mark, flags in ((b'PK\3\4', 6), (b'PK\1\2', 8)): data[data.index(mark)+flags] |= 1
    (tmp_path/'a.zip').write_bytes(data)
    refused(tmp_path/'a.zip', tmp_path, 'is encrypted: unpack it yourself')


def test_a_tar_whose_last_file_is_a_zip_is_a_tar(tmp_path):
    "It ends like a ZIP archive, and Python takes it for one"
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, 'w') as file: file.writestr('other.txt', 'x')
    with tarfile.open(tmp_path/'a.tar', 'w') as file:
        for name, data in (('cat/1.jpg', b'one'), ('notes.zip', inner.getvalue())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    assert zipfile.is_zipfile(tmp_path/'a.tar')
    with making(tmp_path/'out') as folder: unpack(tmp_path/'a.tar', folder)
    assert sorted(path.name for path in (tmp_path/'out').rglob('*')) == ['1.jpg', 'cat', 'notes.zip']


def test_a_zip_holds_no_link(tmp_path):
    info = zipfile.ZipInfo('passwd.jpg')
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as file: file.writestr(info, '/etc/passwd')
    refused(tmp_path/'a.zip', tmp_path, 'holds a link')


@pytest.mark.parametrize('ending', ['.zip', '.tar.gz'])
def test_a_flood_is_stopped(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(module, 'SMALL', 1 << 20)
    zeros = b'\0'*20_000_000
    if ending == '.zip':
        with zipfile.ZipFile(tmp_path/'a.zip', 'w', zipfile.ZIP_DEFLATED) as file: file.writestr('cat/1.bmp', zeros)
    else: tar(tmp_path/'a.tar.gz', ('cat/1.bmp', zeros))
    refused(tmp_path/f'a{ending}', tmp_path, 'holds more than 100 times its size')
    monkeypatch.setattr(module, 'SMALL', 1 << 30)
    monkeypatch.setattr(module, 'free_room', lambda folder: 10_000_000)
    refused(tmp_path/f'a{ending}', tmp_path, 'more than the disk has room for')
    monkeypatch.setattr(module, 'MAX_MEMBERS', 0)
    refused(tmp_path/f'a{ending}', tmp_path, 'holds more than 0 files')


def test_every_flipped_byte_of_an_archive_is_noticed(tmp_path, pets):
    photos = [(f'cat/{p.name}', p.read_bytes()) for p in sorted(pets.rglob('*.jpg'))[:2]]
    data = tar(tmp_path/'a.tar.gz', *photos).read_bytes()
    # the first 16 bytes hold a name and a time, which no checksum covers
    for at in [*range(16, len(data), len(data)//40), *range(len(data)-8, len(data))]:
        (tmp_path/'a.tar.gz').write_bytes(data[:at]+bytes([data[at] ^ 1])+data[at+1:])
        refused(tmp_path/'a.tar.gz', tmp_path, 'no whole archive|cannot be unpacked|link or a device|outside')
    (tmp_path/'a.tar.gz').write_bytes(gzip.compress(gzip.decompress(data))[:-9])
    refused(tmp_path/'a.tar.gz', tmp_path, 'no whole archive')


class Host(http.server.BaseHTTPRequestHandler):
    "One file that changes in the middle, in the way that `server.habit` says"
    protocol_version = 'HTTP/1.0'

    def log_message(self, *args): pass

    def do_GET(self):
        server, asked = self.server, re.match(r'bytes=(\d+)-', self.headers.get('Range', ''))
        server.asked.append((int(asked[1]) if asked else 0, self.headers.get('If-Range')))
        later = len(server.asked) > 1
        data, etag = (server.new, '"new"') if later and server.habit in ('changed', 'changed, careless') else (server.old, '"old"')
        start = int(asked[1]) if asked else 0
        if server.habit == 'changed' and self.headers.get('If-Range') != etag: start = 0
        wrong = 500 if server.habit == 'another range' and start and len(server.asked) == 2 else 0
        self.send_response(206 if start else 200)
        self.send_header('ETag', etag)
        server.told = self.headers.get('Authorization')
        if server.habit not in ('endless', 'drip'): self.send_header('Content-Length', str(len(data)-start))
        if start: self.send_header('Content-Range', f'bytes {start-wrong}-{len(data)-1}/{len(data)}')
        self.end_headers()
        try: self.send(data[start:], later)
        except OSError: pass

    def send(self, data, later):
        if self.server.habit == 'endless':
            for _ in range(10_000): self.wfile.write(bytes(1 << 16))
        elif self.server.habit == 'drip':
            for _ in range(200):
                self.wfile.write(b'x')
                time.sleep(.1)
        else: self.wfile.write(data if later else data[:300_000])


@pytest.fixture
def host(monkeypatch):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Host)
    server.daemon_threads = True
    server.old, server.new, server.asked = os.urandom(900_000), os.urandom(900_000), []
    server.url = f'http://127.0.0.1:{server.server_port}/a.zip?key=secret'
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('habit', ['steady', 'changed', 'changed, careless', 'another range'])
def test_a_file_is_of_one_piece(host, tmp_path, habit):
    host.habit = habit
    download(host.url, tmp_path/'a.zip', progress=False)
    assert (tmp_path/'a.zip').read_bytes() == (host.new if 'changed' in habit else host.old)
    assert host.asked[1] == (300_000, '"old"') and [p.name for p in tmp_path.iterdir()] == ['a.zip']


def test_a_later_command_notices_too(host, tmp_path):
    host.habit = 'changed, careless'
    (tmp_path/'a.zip.part').write_bytes(host.old[:300_000])
    (tmp_path/'a.zip.part-of').write_text('"old"')
    host.asked.append(None)
    download(host.url, tmp_path/'a.zip', progress=False)
    assert (tmp_path/'a.zip').read_bytes() == host.new


def test_an_endless_file_does_not_fill_the_disk(host, tmp_path, monkeypatch):
    host.habit = 'endless'
    monkeypatch.setattr(module, 'free_room', lambda folder: 5_000_000)
    with pytest.raises(DataError, match='does not end, and the disk is nearly full'): download(host.url, tmp_path/'a.zip', progress=False)
    assert not list(tmp_path.iterdir())


def test_a_dripping_server_ends_after_a_stated_time(host, tmp_path, monkeypatch):
    host.habit = 'drip'
    monkeypatch.setattr(module, 'PATIENCE', 3)
    begun = time.monotonic()
    with pytest.raises(OSError, match='arrived in 3 seconds') as error: download(host.url, tmp_path/'a.zip', progress=False)
    assert time.monotonic()-begun < 15 and 'secret' not in str(error.value)


def test_a_silent_server_ends_after_a_stated_time(tmp_path, monkeypatch):
    import socket
    monkeypatch.setattr(module, 'PATIENCE', 1)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        with pytest.raises(OSError, match='no answer within 1 seconds|timed out'):
            download(f'http://127.0.0.1:{silent.getsockname()[1]}/a.zip', tmp_path/'a.zip', progress=False, attempts=1)


def test_a_user_of_an_address_is_told_to_the_server_alone(host, tmp_path):
    host.habit = 'steady'
    address = host.url.replace('://', '://me:pass%40word@')
    download(address, tmp_path/'a.zip', progress=False)
    assert host.told == 'Basic '+base64.b64encode(b'me:pass@word').decode() and (tmp_path/'a.zip').read_bytes() == host.old
    nowhere = address.replace(str(host.server_port), '9')
    with pytest.raises(OSError) as error: download(nowhere, tmp_path/'b.zip', progress=False, attempts=1)
    assert 'pass' not in str(error.value) and 'secret' not in str(error.value)
