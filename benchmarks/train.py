"""An epoch of catdog beside the same network on batches that are ready, beside fastai's own learner, and beside a plain timm loop."""
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import torch
from fastai.callback.core import Callback

from measure import PHOTOS, arguments, find_photos, ratios, report, show, spread_of, summary, take_turns

ALTERNATIVES = ['mobilenetv3_small_100', 'resnet18']   # the networks that fastai and the plain loop train too


class Clock(Callback):
    "Times the training part of each epoch"
    order, run_valid = 100, False
    def before_train(self): self.start = time.perf_counter()
    def after_train(self): self.seconds = time.perf_counter()-self.start


def link_photos(source, folder, n):
    "A train folder of n photos and a small test folder, as links"
    for label in sorted(p.name for p in source.iterdir() if p.is_dir()):
        files = sorted((source/label).iterdir())
        for side, some in (('train', files[:n//2]), ('test', files[-8:])):
            (folder/side/label).mkdir(parents=True)
            for file in some: (folder/side/label/file.name).symlink_to(file)
    return folder


def catdog_training(data, arch, size, batch, runs):
    "A learner as `catdog train` makes it"
    from catdog.photos.catalogue import make_catalogue
    from catdog.training.config import make_config
    from catdog.training.finetune import prepare
    settings = dict(data=str(data), arch=arch, image_size=size, batch_size=batch, runs=str(runs))
    config = make_config(**settings, weights='none', epochs=1, augmentation='light')
    return prepare(config, make_catalogue(config.data, config.valid_fraction, seed=config.seed), progress=False)


def catdog_epoch(training):
    "Images a second"
    clock, learn = Clock(), training.learner
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3, cbs=[clock])
    return len(training.dls.train)*training.dls.train.bs/clock.seconds


def ready_epoch(training):
    "Images a second of forward, backward and step on one batch again and again, as many as an epoch has"
    from catdog.device import autocast
    x, y = training.dls.train.one_batch()
    model, opt = training.model.train(), torch.optim.AdamW(training.model.parameters(), 1e-3, fused=True)
    steps, start = len(training.dls.train), time.perf_counter()
    for _ in range(steps):
        with autocast(x.device, training.resolved['precision']): logits = model(x)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        opt.step()
        opt.zero_grad()
    return steps*len(x)/(time.perf_counter()-start)


def fastai_epoch(data, arch, size, batch):
    "Images a second of vision_learner with fastai's usual pipeline"
    from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms, vision_learner
    transforms = dict(item_tfms=Resize(460), batch_tfms=aug_transforms(size=size, min_scale=.75))
    dls = ImageDataLoaders.from_folder(data, valid='test', bs=batch, num_workers=2, **transforms)
    learn, clock = vision_learner(dls, arch, pretrained=False), Clock()
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3, cbs=[clock])
    return len(dls.train)*batch/clock.seconds


def timm_epoch(data, arch, size, batch):
    "Images a second of a plain loop over timm's own loader"
    import timm
    from timm.data import create_dataset, create_loader
    variation = dict(is_training=True, scale=(.35, 1), color_jitter=.2, interpolation='bicubic')
    loader = create_loader(create_dataset('', str(data/'train')), (3, size, size), batch, use_prefetcher=False, num_workers=2, **variation)
    model = timm.create_model(arch, num_classes=2).train()
    opt, start, n = torch.optim.AdamW(model.parameters(), 1e-3), time.perf_counter(), 0
    for x, y in loader:
        torch.nn.functional.cross_entropy(model(x), y).backward()
        opt.step()
        opt.zero_grad()
        n += len(x)
    return n/(time.perf_counter()-start)


def main():
    warnings.filterwarnings('ignore')
    args = arguments(__doc__, photos=(str(PHOTOS), 'class folders of photos'),
        n=(384, 'photos an epoch'), size=(128, 'side of the input, in pixels'), batch=(32, 'photos a batch'),
        archs=(['mobilenetv3_small_100', 'resnet18', 'convnext_atto', 'vgg11_bn', 'baseline'], 'one network of each family'))
    source, rows, targets, figures = find_photos(args.photos), [], [], {}
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        data = link_photos(source, Path(folder)/'photos', args.n)
        for arch in args.archs:
            training = catdog_training(data, arch, args.size, args.batch, Path(folder)/'runs')
            settings = (arch, args.size, args.batch)
            contenders = {'catdog': partial(catdog_epoch, training), 'ready-made batches': partial(ready_epoch, training)}
            if arch in ALTERNATIVES:
                contenders['fastai learner'] = partial(fastai_epoch, data, *settings)
                contenders['plain timm loop'] = partial(timm_epoch, data, *settings)
            take_turns({name: contenders[name] for name in ('ready-made batches', 'catdog')}, 1)   # warmed up, packs in memory
            turns = take_turns(contenders, args.repeats)
            figures[arch] = {name: summary(values) for name, values in turns.items()}
            over = {name: summary(ratios(turns, 'catdog', name))['median'] for name in turns}
            for name, wanted in (('ready-made batches', .94), ('fastai learner', 2), ('plain timm loop', 1.3)):
                if name in turns: targets.append((f'{arch}, catdog over {name}', over[name], wanted, True))
            precision = f" ({training.resolved['precision']})"
            for name, values in turns.items():
                arithmetic = precision if name in ('catdog', 'ready-made batches') else ''
                rows.append((f'{arch}  {name}{arithmetic}', show(values), f'{over[name]:.2f}'))
    what = f'Training images a second, {args.n} photos an epoch, {args.size} px, batches of {args.batch}'
    report('train', f'{what}: {spread_of(args.repeats)}',
        ['network', 'images a second', 'catdog over it'], rows, args, targets, figures=figures)


if __name__ == '__main__': main()
