"""What the network sees of a test photo is what timm's own transform makes of the file."""
import pytest
from conftest import SHARED
from PIL import Image

PHOTOS = SHARED/'data'/'catdog-2k'/'valid'


@pytest.fixture(scope='module', params=['drawn', 'real'])
def files(request, pets):
    folder = PHOTOS if request.param == 'real' else pets
    absent = 'the photos of catdog-2k are not beside this checkout (../shared/data/catdog-2k)'
    if request.param == 'real' and not PHOTOS.is_dir(): pytest.skip(absent)
    return sorted(folder.rglob('*.jpg'))[::5][:24]


@pytest.mark.parametrize('arch, size', [('resnet18', 128), ('tf_efficientnet_lite0', 224), ('convnext_tiny', 96), ('vgg11_bn', 160)])
def test_evaluation_tensor_is_timms(files, arch, size):
    import torch
    from catdog.photos.decode import open_photo
    from catdog.models.backbone import build_model
    from timm.data import create_transform, resolve_model_data_config
    model, shape, _ = build_model(arch, 2, 'none', size)
    config = {**resolve_model_data_config(model), 'input_size': (3, size, size)}
    transform = create_transform(**config, is_training=False)
    for file in files:
        ours, timms = torch.from_numpy(shape(open_photo(file))), transform(Image.open(file).convert('RGB'))
        assert ours.shape == timms.shape and shape.interpolation == config['interpolation']
        assert (ours-timms).abs().max() <= 2/255/min(shape.std)    # two grey levels
        assert (ours-timms).abs().mean() <= .05/255/min(shape.std)


def test_loader_gives_the_same_tensor(tmp_path, pets):
    import torch
    from catdog.photos.decode import open_photo
    from catdog.photos.preprocessing import Preprocessing
    from catdog.photos.catalogue import make_catalogue
    from catdog.batches.loading import make_loaders
    catalogue, shape = make_catalogue(pets), Preprocessing(size=96, crop_pct=.95, interpolation='bicubic')
    valid = catalogue[catalogue.split == 'valid']
    batch = torch.cat([x for x, _ in make_loaders(catalogue, shape, cache=tmp_path).valid])
    direct = torch.stack([torch.from_numpy(shape(open_photo(path))) for path in valid.path])
    assert batch.shape == direct.shape
    assert (batch-direct).abs().max() <= 1e-5
