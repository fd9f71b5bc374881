"Files damaged at random: what is called good decodes strictly, everything else has a reason, and nothing takes long."
import io
import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from catdog.errors import DataError
from catdog.photos.decode import decode_photo
from catdog.photos.sample import draw_picture

LONG = os.environ.get('CATDOG_FAULTS') == 'long'
FILES = 120_000 if LONG else 9_000
FORMATS = {
    'JPEG': dict(quality=80), 'progressive JPEG': dict(progressive=True), 'CMYK JPEG': {}, 'PNG': {}, 'palette PNG': {}, '16-bit PNG': {},
    'WEBP': dict(quality=70), 'lossless WEBP': dict(lossless=True),
    'GIF': {}, 'TIFF': {}, 'LZW TIFF': dict(compression='tiff_lzw'), 'BMP': {}}


def as_file(form, image):
    "A drawn picture in one of `FORMATS`, with EXIF where the format holds it"
    exif = image.getexif()
    exif[0x0112] = 6
    options, file = dict(FORMATS[form]), io.BytesIO()
    if form.startswith('CMYK'): image = image.convert('CMYK')
    if form.startswith('palette'): image = image.quantize(64)
    if form.startswith('16-bit'): image = Image.fromarray(np.asarray(image.convert('L')).astype(np.uint16)*257)
    if form not in ('GIF', 'BMP', '16-bit PNG'): options['exif'] = exif
    image.save(file, form.split()[-1], **options)
    return file.getvalue()


def damage(data, rng):
    "Bytes changed, cut out, put in, or missing from the end"
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(0, max(1, len(data)))), int(rng.integers(1, 40))
        kind = rng.choice(['flip', 'noise', 'cut', 'insert', 'end'])
        if kind == 'flip' and at < len(data): data[at] ^= 1 << int(rng.integers(8))
        elif kind == 'noise': data[at:at+length] = rng.bytes(length)
        elif kind == 'cut': del data[at:at+length]
        elif kind == 'insert': data[at:at] = rng.bytes(length)
        else: del data[max(1, len(data)-length*8):]
    return bytes(data)


def strictly_decoded(data):
    "Whether Pillow alone, asked for nothing but the pixels, gives them"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with Image.open(io.BytesIO(data)) as image: image.load()
    except Exception: return False
    return True


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.filterwarnings('ignore')
def test_what_is_called_good_decodes_strictly(form):
    rng = np.random.default_rng(list(FORMATS).index(form))
    files = [as_file(form, draw_picture('cat', seed).resize((70, 50))) for seed in range(4)]
    for data in files: assert decode_photo(data).image.size in ((70, 50), (50, 70))
    found = dict(good=0, refused=0)
    for i in range(FILES//len(FORMATS)):
        data, begun = damage(files[i % len(files)], rng), time.thread_time()
        try: repaired = decode_photo(data).repaired
        except DataError as error:
            assert str(error)
            found['refused'] += 1
        else:
            assert strictly_decoded(data) or repaired.startswith(('missing end marker', 'corrupt scan data repaired')), f'{form}, file {i}'
            found['good'] += 1
        assert time.thread_time()-begun < 5
    assert found['refused'] > 5


def test_threads_that_decode_swallow_no_warning():
    "Pillow warns of the EXIF of this file; what else is said meanwhile is heard, every time, and the filters are as they were"
    file = io.BytesIO()
    draw_picture('cat', 1).resize((70, 50)).save(file, 'JPEG', exif=b'Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\1\3\0')
    with pytest.warns(UserWarning, match='EXIF'):
        with Image.open(file) as image: image.getexif()
    decode_photo(file.getvalue())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        with ThreadPoolExecutor(4) as pool:
            work = [pool.submit(decode_photo, file.getvalue()) for _ in range(400)]
            for number in range(400):
                warnings.warn(f'heard {number}')
                time.sleep(.0005)
            assert {each.result().image.size for each in work} == {(70, 50)}
    assert [str(each.message) for each in told] == [f'heard {number}' for number in range(400)]


def test_a_damaged_png_is_never_good():
    "Every byte between the header and the end of the pixels, one at a time"
    data = as_file('PNG', draw_picture('dog', 1).resize((24, 24)))
    first, last = data.index(b'IDAT'), data.rindex(b'IEND')-8
    passed = []
    for at in range(first, last, 1 if LONG else 7):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        try: decode_photo(bytes(damaged))
        except DataError: continue
        passed.append(at)
    assert not passed
