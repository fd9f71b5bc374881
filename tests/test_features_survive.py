"""Kept features: damaged files are named and computed again, and a cache that cannot be written to ends nothing."""
import warnings

import numpy as np
import pytest
import torch

from catdog.models.backbone import build_model
from catdog.models.features import ONNX_FROM, cached_features, compute_features, onnx_features

NAMES = list('abcdef')


@pytest.fixture(scope='module')
def network(): return build_model('test_resnet', 2, 'none', 32)[0].eval()


@pytest.fixture(scope='module')
def images(): return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def flip(data): return bytes([*data[:len(data)//2], data[len(data)//2]^1, *data[len(data)//2+1:]])
def flip_the_start(data): return bytes([data[0]^1, *data[1:]])
def flip_the_end(data): return bytes([*data[:-20], data[-20]^255, *data[-19:]])
def cut(data): return data[:-30]
def empty(data): return b''
def another_make(data): return b'PK\x03\x04 something else'


@pytest.mark.parametrize('how', [flip, flip_the_start, flip_the_end, cut, empty, another_make])
def test_damage_costs_a_computation_only(network, images, tmp_path, how):
    def load(places): return [(images[places], torch.zeros(len(places)))]
    first, *_ = cached_features(network, NAMES, load, 'size', cache=tmp_path)
    file = next(tmp_path.glob('*/*.npz'))
    file.write_bytes(how(file.read_bytes()))
    with pytest.warns(UserWarning, match=f'damaged and computed again: .*{file.name}'):
        again, computed, _ = cached_features(network, NAMES, load, 'size', cache=tmp_path)
    assert computed == 6 and np.array_equal(first, again)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert cached_features(network, NAMES, load, 'size', cache=tmp_path)[1] == 0


def test_a_cache_that_cannot_be_written_to(network, images, tmp_path):
    (tmp_path/'features').write_text('a file where a folder should be')
    with pytest.warns(UserWarning, match='features cannot be kept in'):
        def load(places): return [(images[places], torch.zeros(6))]
        features, computed, _ = cached_features(network, NAMES, load, 'size', cache=tmp_path/'features')
    assert computed == 6 and features.shape[0] == 6


@pytest.mark.parametrize('arch', ['test_resnet', 'test_efficientnet', 'mobilenetv3_small_050', 'convnext_atto', 'baseline', 'test_vit'])
def test_onnxruntime_agrees_with_torch(arch):
    network, shape, _ = build_model(arch, 2, 'none', 96)
    network = network.eval().to(memory_format=torch.channels_last)
    images = torch.randn(20, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    assert onnx_features(network, images), 'onnxruntime does not run it'
    batches = [(images[:16], torch.zeros(16)), (images[16:], torch.zeros(4))]
    (ours, _), (theirs, _) = (compute_features(network, batches, photos=photos) for photos in (ONNX_FROM, 0))
    assert np.abs(ours-theirs).max() <= 2e-5*np.abs(theirs).max()
