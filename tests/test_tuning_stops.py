"""How long fine-tuning takes follows from the solved head: nothing follows where it is right on photos held out."""
import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from catdog.photos.catalogue import make_catalogue
from catdog.training.config import make_config
from catdog.training.finetune import fit, prepare


@pytest.fixture(scope='module')
def colours(tmp_path_factory):
    "Red and blue noise, which any features distinguish, and weights that have learned nothing"
    folder, rng = tmp_path_factory.mktemp('colours'), np.random.default_rng(0)
    for label, tint in (('red', (200, 20, 20)), ('blue', (20, 20, 200))):
        (folder/'photos'/label).mkdir(parents=True)
        for i in range(30):
            pixels = np.clip(rng.normal(tint, 40, (48, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((96, 96)).save(folder/'photos'/label/f'{i}.png')
    save_file(timm.create_model('test_resnet', num_classes=2).state_dict(), folder/'test_resnet.safetensors')
    return folder


ASKED = {'auto': (dict(), 0), 'by name': (dict(recipe='finetune'), 2), 'by number': (dict(epochs=1), 1)}


@pytest.mark.parametrize('settings, epochs', ASKED.values(), ids=ASKED)
def test_epochs_after_a_head_that_is_right(colours, tmp_path, settings, epochs):
    weights = str(colours/'test_resnet.safetensors')
    config = make_config(arch='test_resnet', weights=weights, data=str(colours/'photos'), image_size=48, batch_size=16, precision='fp32',
        runs=str(tmp_path), **settings)
    training = prepare(config, make_catalogue(config.data, config.valid_fraction, config.test_fraction, config.split_seed), progress=False)
    with training.learner.no_bar(), training.learner.no_logging(): run = fit(training)
    assert run.record.timings.head_right >= .99
    assert run.record.resolved.epochs == epochs == (run.history.phase == 'train').sum()
    assert ('fine-tuning is left out' in (run.record.timings.tuning or '')) == (epochs == 0)
