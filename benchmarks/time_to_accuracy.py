"""Seconds from a folder of JPEGs, caches empty, to 98% and 99% of the validation photos with tf_efficientnet_lite0: catdog beside
fastai's fine_tune and a plain timm loop with the same weights; each in a new process."""
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from fastai.callback.core import Callback

from measure import PHOTOS, arguments, quiet_environment, report, show, summary, take_turns

ARCH, GOALS = 'tf_efficientnet_lite0', (.98, .99)


def reached(curve):
    "The second at which each goal was first reached, or None; the last second; and the best accuracy, of a curve of (second, accuracy)"
    first = {str(goal): next((s for s, a in curve if a >= goal), None) for goal in GOALS}
    return dict(first, end=curve[-1][0], best=max(a for _, a in curve))


def as_given(catalogue):
    "All of train/ for training and all of valid/ to validate on, as the others have it; a few of them stand for a test"
    catalogue = catalogue.assign(split=catalogue.split.replace({'valid': 'train', 'test': 'valid'}))
    return pd.concat([catalogue, catalogue[catalogue.split == 'valid'].iloc[::50].assign(split='test')], ignore_index=True)


def catdog(data, size):
    "As `catdog train` does it: photos decoded once, features computed once, the head solved, then everything tuned"
    from catdog.photos.catalogue import make_catalogue
    from catdog.training.config import make_config
    from catdog.training.history import History
    from catdog.training.finetune import fit, prepare
    with tempfile.TemporaryDirectory() as folder:
        os.environ['CATDOG_CACHE'] = folder
        curve, add, start = [], History.add, time.perf_counter()
        def timed_add(self, **row):
            curve.append((time.perf_counter()-start, row['accuracy']))
            add(self, **row)
        History.add = timed_add
        try:
            config = make_config(arch=ARCH, data=str(data), image_size=size, runs=folder+'/runs')
            training = prepare(config, as_given(make_catalogue(config.data)), progress=False)
            with training.learner.no_bar(), training.learner.no_logging(): fit(training)
        finally: History.add = add
    return reached(curve)


class Curve(Callback):
    "Accuracy after each epoch, and when"
    order = 90
    def __init__(self, start): self.start, self.points = start, []
    def after_validate(self):
        if not self.learn.training: self.points.append((time.perf_counter()-self.start, float(self.recorder.metrics[0].value)))


def fastai_fine_tune(data, size):
    "vision_learner and fine_tune(1), with the weights and the normalisation they were trained with"
    from catdog.models.backbone import build_model
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, accuracy, aug_transforms, vision_learner
    start = time.perf_counter()
    crop = Resize(int(size/.875))
    augment = [*aug_transforms(size=size, min_scale=.75), Normalize.from_stats([.5]*3, [.5]*3)]
    dls = ImageDataLoaders.from_folder(data, valid='valid', item_tfms=crop, batch_tfms=augment, bs=32, num_workers=2)
    learn = vision_learner(dls, ARCH, pretrained=False, normalize=False, metrics=accuracy)
    pretrained, _, _ = build_model(ARCH, 2, 'imagenet', size)
    learn.model[0].model.load_state_dict({k: v for k, v in pretrained.state_dict().items() if not k.startswith('classifier')}, strict=False)
    learn.freeze()
    curve = Curve(start)
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(1, cbs=[curve])
    return reached(curve.points)


def plain_timm(data, size):
    "A plain loop over timm's loaders: AdamW at 1e-4, a cosine, three epochs, or until the last goal is reached"
    from catdog.models.backbone import build_model
    from timm.data import create_dataset, create_loader
    start = time.perf_counter()
    model, shape, _ = build_model(ARCH, 2, 'imagenet', size)
    look = dict(mean=shape.mean, std=shape.std, interpolation=shape.interpolation, crop_pct=shape.crop_pct, scale=(.35, 1))
    def loader(side, train):
        photos = create_dataset('', str(data/side))
        return create_loader(photos, (3, size, size), 32, is_training=train, use_prefetcher=False, num_workers=2, **look)
    train, valid, epochs, curve = loader('train', True), loader('valid', False), 3, []
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs*len(train))
    for _ in range(epochs):
        model.train()
        for x, y in train:
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        model.eval()
        with torch.inference_mode(): hits = torch.cat([model(x).argmax(1) == y for x, y in valid])
        curve.append((time.perf_counter()-start, hits.float().mean().item()))
        if curve[-1][1] >= GOALS[-1]: break
    return reached(curve)


CONTENDERS = {'catdog': catdog, 'fastai fine_tune(1)': fastai_fine_tune, 'plain timm loop': plain_timm}


def turn(name, data, size):
    "A contender's turn in a process of its own, so that no setting of one reaches another"
    command = [sys.executable, __file__, '--turn', name, str(data), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, env=quiet_environment())
    if done.returncode: raise SystemExit(done.stderr)
    result = json.loads(done.stdout.splitlines()[-1])
    rounded = {key: value if value is None else round(value, 3) for key, value in result.items()}
    said = ', '.join(f'{key} {value}' for key, value in rounded.items())
    print(f'{name}: {said}', file=sys.stderr, flush=True)
    return result


def main():
    warnings.filterwarnings('ignore')
    data = (str(PHOTOS.parent), 'folder with train and valid class folders')
    args = arguments(__doc__, image_size=(224, 'side of the square input'), data=data)
    folder = Path(args.data)
    wanted = 'name a folder with train/ and valid/ class folders by --data'
    if not folder.is_dir(): raise SystemExit(f'{args.data} is not there: {wanted}')
    contenders = {name: partial(turn, name, folder.resolve(), args.image_size) for name in CONTENDERS}
    runs = take_turns(contenders, args.repeats)
    def seconds(name, key): return [r[key] for r in runs[name]]
    def say(values, digits=0):
        never = values.count(None)
        return f'{never} of {len(values)} never' if never else show(values, digits)
    rows = []
    for name in CONTENDERS:
        best = [100*b for b in seconds(name, 'best')]
        rows.append([name, *(say(seconds(name, str(goal))) for goal in GOALS), say(seconds(name, 'end')), say(best, 1)])
    targets = []
    if None not in seconds('catdog', str(GOALS[-1])):
        shares = [a/b for a, b in zip(seconds('catdog', str(GOALS[-1])), seconds('fastai fine_tune(1)', 'end'))]
        targets = [('catdog to 99% over fine_tune to its end, median', sorted(shares)[len(shares)//2], .1, False)]
    def summed(name, key):
        "Of the turns that got there; None where none did"
        known = [v for v in seconds(name, key) if v is not None]
        return summary(known) if known else None
    keys = (*map(str, GOALS), 'end', 'best')
    figures = {name: {key: summed(name, key) for key in keys} for name in CONTENDERS}
    title = f'Seconds to an accuracy, {ARCH}, {args.image_size} px'
    columns = ['', '98%', '99%', 'to the end', 'best accuracy %']
    report('time_to_accuracy', title, columns, rows, args, targets, figures=figures)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--turn']: print(json.dumps(CONTENDERS[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]))))
    else: main()
