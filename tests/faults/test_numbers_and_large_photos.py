"Pixels as cameras, scanners and telephones write them: turned once, scaled to what a screen shows, or refused with a reason."
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from catdog.errors import DataError
from catdog.photos.decode import decode_photo, open_photo

RAMP = np.linspace(0, 1, 600).reshape(20, 30)


def as_file(image, form='TIFF', **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize('compression', [None, 'tiff_lzw', 'tiff_deflate'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_tiff_is_turned_once(orientation, compression):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    turned = decode_photo(as_file(image, compression=compression, exif=exif))
    assert np.array_equal(np.asarray(turned.image), np.asarray(open_photo(as_file(image, 'PNG', exif=exif))))
    assert turned.notes == ([] if orientation == 1 else [f'EXIF orientation {orientation} applied'])


@pytest.mark.parametrize('form', ['PNG', 'TIFF'])
@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_bits_in_16_fill_the_screen(bits, form):
    photo = decode_photo(as_file(Image.fromarray((RAMP*(2**bits-1)).astype(np.uint16)), form))
    assert np.abs(np.asarray(photo.image)[..., 0]-RAMP*255).max() < 1.5
    assert photo.notes == ['16-bit' if bits > 14 else f'{bits}-bit in 16-bit']


FLOATS = {'to 1': RAMP, 'to 255': RAMP*255, 'to 400,000': RAMP*4e5, 'to .002': RAMP*2e-3, 'about 0': RAMP*2-1, 'kelvins': RAMP*40+273}
INTEGERS = {'to 100,000': RAMP*1e5, 'to 2e9': RAMP*2e9, 'about 0': RAMP*5000-2500, 'about a million': RAMP*300+1e6}


@pytest.mark.parametrize('values', FLOATS.values(), ids=FLOATS)
def test_floats_of_any_unit_are_seen(values):
    values = values.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    photo = decode_photo(as_file(Image.fromarray(values)))
    pixels = np.asarray(photo.image)[..., 0]
    assert pixels.max() > 127 and len(np.unique(pixels)) > 100 and not pixels[0, :3].any()
    assert 'pixels without a value shown black' in photo.notes


def test_floats_without_a_value_are_refused():
    with pytest.raises(DataError, match='NaN'): open_photo(as_file(Image.fromarray(np.full((20, 30), np.nan, np.float32))))


@pytest.mark.parametrize('values', INTEGERS.values(), ids=INTEGERS)
def test_32_bit_integers_are_seen(values):
    pixels = np.asarray(open_photo(as_file(Image.fromarray(values.astype(np.int32)))))[..., 0]
    assert pixels.max() > 127 and len(np.unique(pixels)) > 100


COLOURS = np.stack([RAMP, RAMP[:, ::-1], RAMP[::-1]], 2)


def png(values):
    "A 16-bit PNG of (height, width, channels): grey with transparency, colours, or both"
    def part(kind, data): return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
    height, width, channels = values.shape
    header = struct.pack('>IIBBBBB', width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b''.join(b'\0'+row.astype('>u2').tobytes() for row in values)
    return b'\x89PNG\r\n\x1a\n'+part(b'IHDR', header)+part(b'IDAT', zlib.compress(rows))+part(b'IEND', b'')


def tiff(values, order='<', kind=1, **tags):
    "A TIFF of (height, width[, channels]) in one strip; `kind` is its sample format, `tags` are further ones by number"
    channels, bits = (values.shape[2:] or (1,))[0], values.dtype.itemsize*8
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    plain = {256: values.shape[1], 257: values.shape[0], 259: 1, 262: 2 if channels >= 3 else 1,
             277: channels, 278: values.shape[0], 279: len(data),
             **{int(name[1:]): value for name, value in tags.items()}}
    lists = {258: [bits]*channels, 339: [kind]*channels}
    if channels == 4: lists[338] = [2]
    size, entries, extra = 2+12*(len(plain)+len(lists)+1)+4, [], b''
    for tag in sorted([*plain, *lists, 273]):
        if tag in lists and len(lists[tag]) > 2:
            entries.append(struct.pack(order+'HHII', tag, 3, len(lists[tag]), 8+size+len(extra)))
            extra += struct.pack(f'{order}{len(lists[tag])}H', *lists[tag])
        elif tag in lists:
            packed = struct.pack(f'{order}{len(lists[tag])}H', *lists[tag])
            entries.append(struct.pack(order+'HHI4s', tag, 3, len(lists[tag]), packed))
        elif tag != 273: entries.append(struct.pack(order+'HHII', tag, 4, 1, plain[tag]))
        else: entries.append(None)
    entries[entries.index(None)] = struct.pack(order+'HHII', 273, 4, 1, 8+size+len(extra))
    head = {'<': b'II*\0', '>': b'MM\0*'}[order]+struct.pack(order+'I', 8)+struct.pack(order+'H', len(entries))
    return head+b''.join(entries)+bytes(4)+extra+data


def ppm(values): return b'P6 30 20 65535\n'+values.astype('>u2').tobytes()


WRITERS = {'PNG': png, 'TIFF': tiff, 'TIFF of a Mac': lambda values: tiff(values, '>'), 'PPM': ppm}


@pytest.mark.parametrize('write', WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize('bits', [9, 10, 12, 14, 15, 16])
def test_few_bits_of_16_for_each_colour_fill_the_screen(bits, write):
    photo = decode_photo(write((COLOURS*(2**bits-1)).round().astype(np.uint16)))
    small = bits < 15      # a brighter photo is as Pillow reads it
    shown = COLOURS*255 if small else COLOURS*(2**bits-1)/256
    assert np.abs(np.asarray(photo.image)-shown).max() < (1 if small else 1.5)
    assert photo.notes == ([f'{bits}-bit in 16-bit'] if small else [])


@pytest.mark.parametrize('opaque', [4095, 65535])
def test_transparency_has_bits_of_its_own(opaque):
    alpha = np.full((20, 30, 1), opaque)
    for colours in (COLOURS, COLOURS[..., :1]):
        for write in (png, tiff) if colours.shape[2] == 3 else (png,):
            photo = decode_photo(write(np.concatenate([(colours*4095).round(), alpha], 2).astype(np.uint16)))
            assert np.abs(np.asarray(photo.image)-colours*255).max() < 1
            assert photo.notes == ['transparency on white', '12-bit in 16-bit']


def test_grey_of_a_tiff_is_what_its_tags_say():
    grey = (RAMP*255).round()
    signed = np.asarray(open_photo(tiff((grey-128).astype(np.int8), kind=2)))[..., 0]
    assert (np.diff(signed.astype(int), axis=1) >= 0).all() and np.ptp(signed) == 255
    negative = np.asarray(open_photo(tiff((grey*257).astype(np.uint16), t262=0)))[..., 0]
    assert np.array_equal(negative, 255-grey)


UNREAD = {
    'colours as floats': (tiff(COLOURS.astype(np.float32), kind=3), '3 channels of 32-bit floating-point values; save it as 8-bit'),
    'five channels': (tiff(np.zeros((20, 30, 5), np.uint8), t262=1), '5 channels of 8-bit unsigned values'),
    'doubles': (tiff(RAMP, kind=3), '1 channel of 64-bit floating-point values'),
    'planes of 16 bits': (tiff((COLOURS*65535).astype(np.uint16), t284=2), '16-bit colours in separate planes'),
    'a DNG': (tiff((COLOURS*255).astype(np.uint8), t50706=1), "a camera's raw file"),
    'a preview': (tiff((COLOURS*255).astype(np.uint8), t254=1), "a camera's raw file"),
    'CR2': (b'II*\0\x10\0\0\0CR\2\0', "a camera's raw file"), 'CR3': (b'\0\0\0\x18ftypcrx ', "a camera's raw file"),
    'DICOM': (bytes(128)+b'DICM'+bytes(99), 'DICOM'), 'Targa': (as_file(Image.new('RGB', (20, 20)), 'TGA'), 'Targa'),
    'DDS': (as_file(Image.new('RGBA', (20, 20)), 'DDS'), 'DDS'), 'an icon': (as_file(Image.new('RGB', (32, 32)), 'ICO'), 'icon')}


@pytest.mark.parametrize('case', UNREAD)
def test_what_would_be_read_wrongly_is_refused_by_name(case):
    data, said = UNREAD[case]
    with pytest.raises(DataError, match='unsupported: ') as error: decode_photo(data)
    assert said in str(error.value)


def test_a_progressive_photo_that_was_cut_is_truncated():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    data = as_file(noise, 'JPEG', progressive=True)
    for length in range(1000, len(data)-100, 997):
        with pytest.raises(DataError, match='truncated'): open_photo(data[:length])


def test_a_telephones_108_megapixels_are_no_bomb():
    data = as_file(Image.new('RGB', (12_000, 9_000), (200, 30, 90)), 'JPEG')
    photo = decode_photo(data)
    assert photo.image.size == (6_000, 4_500) and photo.notes == ['decoded at half size']
    with pytest.raises(DataError, match='bomb'): open_photo(as_file(Image.new('1', (12_000, 9_000)), 'PNG'))


def test_heic_is_read_or_says_what_reads_it(monkeypatch):
    heif = pytest.importorskip('pillow_heif')
    heif.register_heif_opener()
    data = as_file(Image.new('RGB', (80, 40), (200, 30, 90)), 'HEIF')
    assert open_photo(data).size == (80, 40)
    monkeypatch.setitem(__import__('sys').modules, 'pillow_heif', None)
    with pytest.raises(DataError, match=r"unsupported: HEIC \(pip install '.*\[photos\].*' .*reads it\)"): open_photo(data)


def taken():
    "Photos that the audit calls good, and the quick way to training pictures may trip over"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8))
    whole, exif = as_file(noise, 'JPEG'), noise.getexif()
    exif[0x0112] = 6
    turned = as_file(noise, 'JPEG', exif=exif)
    return {'190 megapixels': as_file(Image.new('L', (13_400, 13_400), 99), 'JPEG'), 'no end marker': whole[:-2],
            'stray bytes': whole[:-2]+bytes(40)+whole[-2:],
            'broken EXIF': turned.replace(b'II*\0\x08', b'II*\0\xff').replace(b'MM\0*\0', b'MM\0*\xff'),
            'two pictures': as_file(noise, 'MPO', save_all=True, append_images=[noise]), 'CMYK': as_file(noise.convert('CMYK'), 'JPEG'),
            'AVIF': as_file(noise, 'AVIF'), '12-bit colours': png((COLOURS*4095).astype(np.uint16))}


TAKEN = taken()


@pytest.mark.parametrize('case', TAKEN)
def test_training_takes_what_the_audit_took(case, tmp_path):
    from catdog.batches.packing import read_pixels
    from catdog.photos.preprocessing import Preprocessing
    from catdog.photos.workers import inspect_photo
    path = tmp_path/'photo.jpg'
    path.write_bytes(TAKEN[case])
    row = inspect_photo(path)
    assert row['status'] != 'skipped', row['reason']
    for exact in (False,) if case == '190 megapixels' else (True, False):
        height, width, _ = read_pixels(path, Preprocessing(size=32), exact).shape
        assert abs(width/height-row['width']/row['height']) < .1
