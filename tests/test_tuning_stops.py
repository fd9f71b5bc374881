"""How long fine-tuning takes follows from the solved head, and it ends where it brings nothing."""
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from catdog.models.features import head_temperature
from catdog.photos.catalogue import catalogue_for
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
    torch.manual_seed(0)   # what so high a rate does to other weights is chance
    save_file(timm.create_model('test_resnet', num_classes=2).state_dict(), folder/'test_resnet.safetensors')
    return folder


@pytest.fixture(scope='module')
def guesses(colours):
    "The same photos under labels that nothing in them tells: a head is right on about half of them"
    files = sorted((colours/'photos').rglob('*.png'))
    for place, label in zip(np.random.default_rng(1).permutation(len(files)), ['heads', 'tails']*len(files)):
        (colours/'guesses'/label).mkdir(parents=True, exist_ok=True)
        shutil.copy(files[place], colours/'guesses'/label/f'{place}.png')
    return colours/'guesses'


@pytest.fixture(scope='module')
def doubtful(colours):
    "The same photos, one in five under the other label: a head knows something and leaves much to learn"
    files, rng = sorted((colours/'photos').rglob('*.png')), np.random.default_rng(2)
    for file, wrong in zip(files, rng.random(len(files)) < .2):
        label = {'red': 'blue', 'blue': 'red'}[file.parent.name] if wrong else file.parent.name
        (colours/'doubtful'/label).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, colours/'doubtful'/label/f'{file.parent.name}{file.name}')
    return colours/'doubtful'


def train(colours, data, runs, **settings):
    "A training that has run"
    config = make_config(arch='test_resnet', weights=str(colours/'test_resnet.safetensors'), data=str(data), image_size=48, batch_size=16,
        precision='fp32', valid_fraction=.3, runs=str(runs), **settings)
    training = prepare(config, catalogue_for(config), progress=False)
    with training.learner.no_bar(), training.learner.no_logging(): fit(training)
    return training


def tune(*args, **settings): return train(*args, **settings).run


ASKED = {'auto': (dict(), 0), 'by name': (dict(recipe='finetune'), 2), 'by number': (dict(epochs=1), 1)}


@pytest.mark.parametrize('settings, epochs', ASKED.values(), ids=ASKED)
def test_epochs_after_a_head_that_is_right(colours, tmp_path, settings, epochs):
    run = tune(colours, colours/'photos', tmp_path, **settings)
    assert run.info['timings']['head_right'] >= .99
    assert run.info['resolved']['epochs'] == epochs == (run.history.phase == 'train').sum()
    assert ('fine-tuning is left out' in (run.info['timings'].get('tuning') or '')) == (epochs == 0)


@pytest.mark.parametrize('settings', [dict(lr=3.), dict(lr=1e-6)], ids=['harms', 'changes nothing'])
def test_a_tuning_that_brings_nothing_is_ended_and_says_so(colours, guesses, tmp_path, settings):
    run = tune(colours, guesses, tmp_path, **settings)
    timings = run.info['timings']
    assert timings['head_right'] < .97 and run.info['resolved']['epochs'] == 10
    assert run.history.phase.tolist() == ['head', *['train']*3]
    judged = timings['judged']
    assert timings['best_epoch'] == 0 and 2*judged['standard_error']-judged['loss_apart'] < .02*judged['loss_before']
    assert timings['tuning'].startswith('fine-tuning brought nothing here and was ended after 3 of 10 epochs: the head is kept')


@pytest.mark.parametrize('settings', [dict(epochs=4), dict(recipe='finetune'), dict(keep='last')], ids=str)
def test_epochs_that_were_asked_for_are_trained(colours, guesses, tmp_path, settings):
    run = tune(colours, guesses, tmp_path, lr=1., **settings)
    assert (run.history.phase == 'train').sum() == run.info['resolved']['epochs'] and 'judged' not in run.info['timings']


@pytest.fixture(scope='module')
def shapes(colours):
    "Written digits that look alike: features of a network that has learned nothing know some, and tuning more"
    from sklearn.datasets import load_digits
    found = load_digits()
    for label in (3, 5, 8):
        (colours/'shapes'/str(label)).mkdir(parents=True)
        for i in np.flatnonzero(found.target == label)[:80]:
            Image.fromarray((found.images[i]*15.9).astype(np.uint8)).resize((48, 48)).save(colours/'shapes'/str(label)/f'{i}.png')
    return colours/'shapes'


@pytest.mark.parametrize('data, kept', [('doubtful', False), ('shapes', True)])
def test_the_head_or_what_came_of_it(colours, request, tmp_path, data, kept):
    "Tuning is kept where it brought something, and is then as sure as it is right"
    training = train(colours, request.getfixturevalue(data), tmp_path)
    timings = training.run.info['timings']
    assert timings['head_right'] < .97 and training.run.info['resolved']['epochs'] == 10
    assert (timings['best_epoch'] != 0) == ('temperature' in timings['compared']) == kept
    if kept:
        model = training.model.eval()
        with torch.inference_mode(): logits = torch.cat([model(images.as_subclass(torch.Tensor)) for images, *_ in training.dls.valid])
        assert head_temperature(logits.float(), training.dls.valid.dataset.labels, .5) == pytest.approx(1, abs=.1)
