"Pixels as cameras, scanners and telephones write them: turned once, scaled to what a screen shows, or refused with a reason."
import io

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
    assert photo.notes == ['16-bit' if bits > 13 else f'{bits}-bit in 16-bit']


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
    with pytest.raises(DataError, match=r"unsupported: HEIC \(pip install '.\[photos\]' reads it\)"): open_photo(data)
