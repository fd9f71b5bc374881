"""A step that does not fit ends in a smaller batch, and one that diverges in the last good weights; neither in a traceback."""
import math
import re

import pytest
import torch
from conftest import TINY, catdog, options

SETTINGS = {**TINY, 'arch': 'test_convnext', 'epochs': 2, 'lr': .001}   # no batch norms: the sum of two halves is the whole


def ready(data, runs, **settings):
    from catdog.photos.catalogue import make_catalogue
    from catdog.training.config import make_config
    from catdog.training.finetune import prepare
    return prepare(make_config(**{**SETTINGS, 'data': str(data), 'runs': str(runs), **settings}), make_catalogue(data), progress=False)


def train(training):
    from catdog.training.finetune import fit
    with training.learner.no_bar(), training.learner.no_logging(): return fit(training)


def room_for(training, photos, after=0):
    "Let the network's card hold so many photos of a training step, from some step on"
    steps = []
    def refuse(model, inputs):
        if not model.training: return
        steps.append(len(inputs[0]))
        if len(steps) > after and len(inputs[0]) > photos: raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')
    training.model.register_forward_pre_hook(refuse)
    return steps


@pytest.mark.parametrize('after', [0, 2])   # in the first step, and in the second epoch, which goes on from a checkpoint
def test_out_of_memory_halves_the_batch(tmp_path, pets, after):
    squeezed = ready(pets, tmp_path/'squeezed', batch_size=16)
    steps = room_for(squeezed, photos=8, after=after)
    run = train(squeezed)
    assert 16 in steps and steps[-1] <= 8
    assert (run.record.resolved.batch_size, run.record.resolved.accumulate, run.record.status) == (8, 2, 'trained')
    if after == 0:
        expected = train(ready(pets, tmp_path/'small', batch_size=8, accumulate=2))
        assert run.history.equals(expected.history)
        assert (run.folder/'model.safetensors').read_bytes() == (expected.folder/'model.safetensors').read_bytes()


def test_no_batch_is_small_enough(tmp_path, pets):
    training = ready(pets, tmp_path, batch_size=8)
    room_for(training, photos=1)
    with pytest.raises(ValueError, match='out of memory even at 2 photos'): train(training)
    assert training.run.record.status == 'failed'


def test_auto_takes_what_fits(tmp_path, pets, monkeypatch):
    from catdog.training import finetune
    monkeypatch.setattr(finetune, 'step_fits', lambda model, n, size, precision: n <= 20)   # a card of 20 photos
    monkeypatch.setattr(finetune, 'pick_precision', lambda *args: ('fp32', {}))
    training = ready(pets, tmp_path)
    config = training.config.model_copy(update=dict(batch_size='auto'))
    assert finetune._batch_size(config, training.model, photos=1000, device=torch.device('meta')) == 16
    assert finetune._batch_size(config, training.model, photos=1000, device=torch.device('cpu')) == 32


def test_divergence_keeps_the_last_good_weights(tmp_path, pets):
    from safetensors.torch import load_file
    start = train(ready(pets, tmp_path/'start'))
    tuned = ready(pets, tmp_path/'tuned', weights=str(start.folder/'model.safetensors'), lr=10, optimizer='sgd', clip='none', epochs=5)
    said = 'diverged in .* lower lr .it is 10.; the weights of epoch ([0-9]) are kept'
    with pytest.raises(ValueError, match=said) as error: train(tuned)
    record, losses = tuned.run.record, tuned.run.history.valid_loss
    kept = int(re.search(said, str(error.value))[1])        # 0 is the head: epochs by themselves are no candidates without `patience`
    assert math.isfinite(losses.iloc[kept]) and losses.iloc[kept] < 10, (kept, losses)
    assert record.status == 'diverged' and 'lower lr' in record.error and not (tuned.run.folder/'checkpoint').exists()
    assert all(bool(torch.isfinite(value).all()) for value in load_file(tuned.run.folder/'model.safetensors').values())


def test_divergence_on_the_command_line_is_a_line(tmp_path, pets):
    steep = {'lr': 10, 'optimizer': 'sgd', 'clip': 'none', 'epochs': 5, 'processes': 2}
    done = catdog('train', *options({**SETTINGS, **steep, 'data': pets, 'runs': tmp_path}))
    assert done.returncode == 2 and 'diverged in' in done.stderr and 'Traceback' not in done.stderr, done.stderr


def test_rare_classes_are_balanced(tmp_path):
    "On photos of which one class has a fifth, weights and sampler name it more often than a training that counts all alike"
    from catdog.photos.sample import draw_sample
    data = draw_sample(tmp_path/'pets', n=100, seed=5)
    for photo in sorted((data/'dog').iterdir())[10:]: photo.unlink()
    found = {}
    for balance in ('none', 'weights', 'sampler'):
        training = ready(data, tmp_path/balance, balance=balance, epochs=3, image_size=32, valid_fraction=.3)
        run = train(training)
        found[balance] = run.history.train_loss.iloc[0], run.history.valid_loss.iloc[0]
    assert len({round(loss, 6) for loss, _ in found.values()}) == 3 and all(math.isfinite(x) for pair in found.values() for x in pair)
