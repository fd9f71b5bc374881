"""Batches: torchvision's distribution, the seed alone, and all that fastai does with a data loader."""
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.all import CutMix, EarlyStoppingCallback, GradientAccumulation, GradientClip, MixUp, SaveModelCallback
from fastai.interpret import ClassificationInterpretation
from fastai.learner import Learner, load_learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.vision.learner import vision_learner   # with it comes how fastai plots the worst mistakes
from torch import nn
from torchvision.transforms import v2

from catdog.photos.sample import draw_picture
from catdog.photos.preprocessing import Preprocessing
from catdog.photos.catalogue import make_catalogue
from catdog.batches.augment import (AUGMENTATIONS, Augmentation, ResidentPhotos, augment, cut_boxes, device_views, draw_numbers,
    plan_views, view_changes)
from catdog.batches.loading import make_loaders, train_shape
from catdog.batches.packing import pack_photos

SHAPE = Preprocessing(size=32)


@pytest.fixture(scope='module')
def catalogue(pets): return make_catalogue(pets)


@pytest.fixture
def dls(catalogue, tmp_path_factory): return make_loaders(catalogue, SHAPE, batch_size=8, cache=tmp_path_factory.getbasetemp()/'packs')


class Tiny(nn.Sequential):
    def __init__(self): super().__init__(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 2))


def learner(dls, tmp_path, **kwargs):
    return Learner(dls, Tiny(), loss_func=CrossEntropyLossFlat(), metrics=accuracy, path=tmp_path, **kwargs)


def test_views_have_torchvisions_statistics():
    photo, n = np.array(draw_picture('cat', 3)), 1500
    ours = augment([photo]*n, SHAPE, draw_numbers(0, 0, range(n)), Augmentation((.35, 1), .2)).float()
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(32, (.35, 1), interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    transform = v2.Compose([crop, v2.RandomHorizontalFlip(), v2.ColorJitter(.2, .2, .2)])
    image = torch.from_numpy(photo).permute(2, 0, 1)
    theirs = torch.stack([transform(image) for _ in range(n)]).float()
    for ours_is, theirs_is, allowed in (   # levels of 255
        (ours.mean((0, 2, 3)), theirs.mean((0, 2, 3)), 3), (ours.std((0, 2, 3)), theirs.std((0, 2, 3)), 3),   # colour
        (ours.mean((2, 3)).std(0), theirs.mean((2, 3)).std(0), 2),                                            # from view to view
        (ours.mean((0, 1)), theirs.mean((0, 1)), 8), (ours.std(0), theirs.std(0), 8),                         # place by place
    ): assert (ours_is-theirs_is).abs().max() < allowed
    sharpness = lambda x: (x[..., 1:]-x[..., :-1]).abs().mean().item()
    assert sharpness(ours) == pytest.approx(sharpness(theirs), rel=.03)


def normalised(n, size): return torch.empty(n, 3, size, size).contiguous(memory_format=torch.channels_last)


def views_of_cut_boxes(photos, shape, draws, how):
    "As on a card that does not hold the photos"
    plan = plan_views([photo.shape[:2] for photo in photos], shape, draws, how)
    return device_views(*cut_boxes(photos, plan.boxes), view_changes(plan), plan.largest, shape, how)


@pytest.mark.parametrize('size', [24, 64, 100])
@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_views_made_on_a_device_are_those_of_the_cpu(catalogue, tmp_path_factory, size, interpolation):
    shape = Preprocessing(size, interpolation=interpolation)
    for exact, how in ((False, AUGMENTATIONS['light']), (True, None)):
        packed = shape if exact else train_shape(shape)
        pack = pack_photos(catalogue, packed, tmp_path_factory.getbasetemp()/'packs', exact=exact)
        rows = list(range(0, len(pack), 2))
        draws = draw_numbers(1, 2, rows)
        ours, theirs = ResidentPhotos(pack, 'cpu').views(rows, shape, draws, how), normalised(len(rows), size)
        augment([pack[i] for i in rows], shape, draws, how, theirs)
        levels = (ours-theirs).abs()*255*.229
        assert ours.is_contiguous(memory_format=torch.channels_last)
        assert levels.max() < (1e-3 if exact else 3.5) and levels.mean() < .15
        assert torch.equal(ours, views_of_cut_boxes([pack[i] for i in rows], shape, draws, how))


@pytest.mark.parametrize('size', [24, 65, 128])
@pytest.mark.parametrize('jitter', [0., .2, .9])
def test_one_pass_gives_what_plain_torch_gives(size, jitter):
    photos, shape = [np.array(draw_picture(kind, seed)) for kind in ('cat', 'dog') for seed in range(6)], Preprocessing(size)
    draws = draw_numbers(3, 0, range(12))
    fused, plain = (augment(photos, shape, draws, Augmentation(jitter=jitter), normalised(12, size), fused) for fused in (True, False))
    assert 0 <= (fused-plain).abs().max() < 3e-6


def test_no_batch_of_one(catalogue, tmp_path_factory):
    photos = catalogue[catalogue.split == 'train'].iloc[:33]
    photos = pd.concat([photos, catalogue[catalogue.split != 'train']])
    loaders = make_loaders(photos, SHAPE, batch_size=32, cache=tmp_path_factory.getbasetemp()/'packs')
    assert [len(y) for _, y in loaders.train] == [32] and len(loaders.train) == 1


def test_the_seed_alone_decides(dls):
    passes = lambda dl: [torch.cat([x for x, _ in dl]) for _ in range(2)]
    one, four, other = (passes(dls.train.new(**settings)) for settings in (dict(threads=1), dict(threads=4), dict(seed=1)))
    for a, b in zip(one, four): assert torch.equal(a, b)
    assert not torch.equal(one[0], one[1]) and not torch.equal(one[0], other[0])


def test_a_loop_in_inference_mode(dls):
    with torch.inference_mode(): assert all(x.sum().isfinite() for loader in dls.loaders for x, _ in loader)
    nn.Conv2d(3, 1, 1)(dls.train.one_batch()[0]).sum().backward()


def test_processes_share_batches(dls):
    whole = torch.cat([x for x, _ in dls.train.new(shuffle=False, drop_last=False)])
    shares = [dls.train.new(shuffle=False, drop_last=False) for _ in range(2)]
    for rank, share in enumerate(shares): share.rank, share.world = rank, 2
    for batch, (a, _), (b, _) in zip(whole.split(8), *shares):
        assert torch.equal(batch[0::2], a) and torch.equal(batch[1::2], b)


def test_a_broken_pass_does_not_move_the_epoch(dls):
    first = dls.train.one_batch()[0]
    assert torch.equal(first, dls.train.one_batch()[0])
    assert dls.train.epoch == 0


CALLBACKS = dict(mixup=MixUp, cutmix=CutMix, clip=GradientClip, save=SaveModelCallback, stop=EarlyStoppingCallback,
    accumulation=lambda: GradientAccumulation(16))


@pytest.mark.parametrize('callback', CALLBACKS.values(), ids=CALLBACKS)
def test_callbacks(dls, tmp_path, callback):
    learn = learner(dls, tmp_path, cbs=[callback()])
    with learn.no_bar(), learn.no_logging(): learn.fit(2, 1e-3)
    assert learn.recorder.losses and np.isfinite(learn.recorder.losses).all()


def test_predictions_and_test_time_augmentation(dls, tmp_path, catalogue):
    learn = learner(dls, tmp_path)
    test = catalogue[catalogue.split == 'test']
    with learn.no_bar():
        probabilities, labels = learn.get_preds(dl=dls[2])
        varied, again = learn.tta(dl=dls[2], n=2)
        mixed, _ = learn.tta(dl=dls[2], n=2, beta=1)
        name, number, row = learn.predict(test.path.iloc[0])
        from_files, _ = learn.get_preds(dl=dls.test_dl(test.path.tolist()))
    assert [dls.vocab[i] for i in labels] == test.label.tolist() and torch.equal(labels, again)
    assert not torch.allclose(varied, probabilities) and torch.allclose(mixed, probabilities)   # beta = 1 is the unvaried alone
    torch.testing.assert_close(from_files, probabilities)
    torch.testing.assert_close(row, probabilities[0])
    assert int(number) == int(probabilities[0].argmax()) and str(name) == dls.vocab[int(number)]


def test_shown_found_exported_and_interpreted(dls, tmp_path):
    import matplotlib.pyplot as plt
    assert callable(vision_learner)
    learn = learner(dls, tmp_path)
    with learn.no_bar(), learn.no_logging():
        assert learn.lr_find(num_it=8, show_plot=False).valley > 0
        dls.show_batch(max_n=4)
        assert [axis.get_title() for axis in plt.gcf().axes] == [dls.vocab[i] for i in dls.train.one_batch()[1][:4]]
        plt.close('all')
        learn.show_results(max_n=4)
        assert all(': ' in axis.get_title() for axis in plt.gcf().axes)
        plt.close('all')
        found = ClassificationInterpretation.from_learner(learn)
        assert found.confusion_matrix().sum() == len(dls.valid_ds)
        found.plot_top_losses(4)
        plt.close('all')
        learn.export('model.pkl')
        assert load_learner(tmp_path/'model.pkl').dls.vocab == dls.vocab
