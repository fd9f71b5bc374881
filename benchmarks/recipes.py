"""Ways to fine-tune, beside each other on the same splits: accuracy and log loss on test photos against seconds and epochs.

Each trial (set, network, way, seed) has a process of its own and adds a line to the record, so a benchmark that was broken off goes on.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from measure import ROOT, arguments, report

SHARED = ROOT.parent/'shared'
RECORD = ROOT/'benchmarks'/'records'/'recipes.jsonl'
SETS = ['trashnet-690', 'catdog-2k', 'caltech101-1680', 'digits', 'sample']
NETWORKS = ['tf_efficientnet_lite0', 'tf_efficientnet_lite2', 'tf_mobilenetv3_small_100', 'resnet50']
QUICK = dict(sets=['trashnet-690', 'digits'], networks=['tf_efficientnet_lite0'], size=64, seeds=[0, 1, 2])
NORMALISED = dict(tf_mobilenetv3_small_100=(.5, .5), resnet50=(0, 1))   # mean and deviation that the weights in ../shared expect


def draw_digits(folder):
    "scikit-learn's 1,797 digits as 28-pixel PNGs in class folders"
    from PIL import Image
    from sklearn.datasets import load_digits
    digits = load_digits()
    for i, (pixels, label) in enumerate(zip(digits.images, digits.target)):
        (folder/str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels*15.9).astype(np.uint8)).resize((28, 28)).save(folder/str(label)/f'{i:04}.png')
    return folder


def find_set(name, folder):
    "Where a set lies; None where it is not here"
    if name == 'sample': return 'sample'
    if name == 'digits': return str(draw_digits(Path(folder)/'digits'))
    path = SHARED/'data'/name
    return str(path) if path.is_dir() else None


class Trial:
    "One split of a set, and a network with its weights"
    def __init__(self, data, arch, size, seed, runs):
        self.arch, self.size, self.seed = arch, size, seed
        weights = SHARED/'weights'/f'{arch}.safetensors'
        self.settings = dict(data=data, arch=arch, image_size=size, seed=seed, split_seed=seed, runs=str(runs), weights='auto')
        if weights.is_file(): self.settings['weights'] = str(weights)
        if arch in NORMALISED: self.settings.update(zip(('mean', 'std'), NORMALISED[arch]))

    def config(self, **more):
        from catdog.training.config import make_config
        return make_config(**self.settings, **more)

    def catalogue(self):
        from catdog.photos.catalogue import make_catalogue
        return make_catalogue(self.settings['data'], split_seed=self.seed)

    def model(self, classes):
        from catdog.models.backbone import build_model
        config = self.config()
        return build_model(self.arch, classes, config.weights, self.size, config.mean, config.std)[:2]


def score(logits, labels):
    "Accuracy and log loss"
    logits, labels = torch.as_tensor(logits).float(), torch.as_tensor(labels)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    return dict(accuracy=float((logits.argmax(1) == labels).float().mean()), log_loss=float(loss))


def predict(model, loader):
    "Logits and labels of a loader"
    model.eval()
    with torch.inference_mode(): logits = torch.cat([model(images.as_subclass(torch.Tensor)).float() for images, _ in loader])
    return logits, loader.dataset.labels


def catdog(trial, **settings):
    "A run of catdog with some settings; its seconds are those of its record"
    from catdog.training.finetune import fit, prepare
    training = prepare(trial.config(**settings), trial.catalogue(), progress=False)
    with training.learner.no_bar(), training.learner.no_logging(): run = fit(training)
    epochs = sum(row.phase == 'train' for row in run.history.itertuples())
    return dict(**score(*predict(training.model, training.dls[2])), seconds=run.info['timings']['train_seconds'], epochs=epochs)


def logistic_regression(trial):
    "scikit-learn on the features of the centre crops, its C by five folds"
    from catdog.batches.loading import make_loaders
    from catdog.models.features import compute_features
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    catalogue, start = trial.catalogue(), time.perf_counter()
    model, shape = trial.model(catalogue.label.nunique())
    dls = make_loaders(catalogue, shape, 32, 'none')
    loaders = (dls.train.new(shuffle=False, drop_last=False), dls.valid, dls[2])
    sides = [compute_features(model, loader, photos=len(catalogue)) for loader in loaders]
    (x, y), (test_x, test_y) = (np.concatenate(part) for part in zip(*sides[:2])), sides[2]
    chosen = LogisticRegressionCV(Cs=np.logspace(-4, 0, 5), cv=5, scoring='neg_log_loss', max_iter=2000)
    fit = make_pipeline(StandardScaler(), chosen).fit(x, y)
    return dict(**score(fit.predict_log_proba(test_x), test_y), seconds=time.perf_counter()-start, epochs=0)


def fastai(trial, epochs):
    "vision_learner and fine_tune with fastai's own defaults, and the same weights"
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms, vision_learner
    catalogue = trial.catalogue()
    rows = catalogue[catalogue.split.isin(['train', 'valid'])]
    rows = rows.assign(name=rows.path.astype(str), held=rows.split == 'valid')
    start, (model, shape) = time.perf_counter(), trial.model(rows.label.nunique())
    transforms = [*aug_transforms(size=trial.size, min_scale=.75), Normalize.from_stats(shape.mean, shape.std)]
    columns = dict(fn_col='name', label_col='label', valid_col='held', path='/')
    dls = ImageDataLoaders.from_df(rows, item_tfms=Resize(int(trial.size/.875)), batch_tfms=transforms, bs=32, num_workers=0, **columns)
    learn = vision_learner(dls, trial.arch, pretrained=False, normalize=False)
    body = learn.model[0].model
    body.load_state_dict({name: value for name, value in model.state_dict().items() if name in body.state_dict()}, strict=False)
    learn.freeze()
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(epochs)
    seconds, test = time.perf_counter()-start, catalogue[catalogue.split == 'test']
    with learn.no_bar(): chances, _ = learn.get_preds(dl=dls.test_dl(test.path.astype(str).tolist()))
    return dict(**score(chances.clamp_min(1e-9).log(), np.searchsorted(list(dls.vocab), test.label)), seconds=seconds, epochs=epochs+1)


def timm_loop(trial, epochs=10):
    "timm's recommended fine-tuning as a plain loop: AdamW, cosine, RandAugment, mixup, smoothing, EMA, layer decay"
    from catdog.batches.loading import make_loaders
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3
    catalogue, start = trial.catalogue(), time.perf_counter()
    classes = catalogue.label.nunique()
    model, shape = trial.model(classes)
    dls = make_loaders(catalogue, shape, 32, 'randaugment', seed=trial.seed)
    mix, ema = Mixup(mixup_alpha=.2, label_smoothing=.1, num_classes=classes), ModelEmaV3(model, decay=.98)
    optimizer = create_optimizer_v2(model, 'adamw', weight_decay=.05, layer_decay=.75)
    rates = [1e-3*group.get('lr_scale', 1) for group in optimizer.param_groups]   # smaller towards the stem
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, epochs*len(dls.train))
    for _ in range(epochs):
        model.train()
        for images, labels in dls.train:
            images, labels = (batch.as_subclass(torch.Tensor) for batch in (images, labels))
            even = len(images)//2*2
            images, targets = mix(images[:even].contiguous(), labels[:even])
            SoftTargetCrossEntropy()(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            ema.update(model)
    seconds = time.perf_counter()-start
    return dict(**score(*predict(ema.module, dls[2])), seconds=seconds, epochs=epochs)


WAYS = {
    'solved head': lambda trial: catdog(trial, recipe='frozen'),
    'logistic regression': logistic_regression,
    'catdog': catdog,
    'catdog, 10 epochs': lambda trial: catdog(trial, epochs=10),
    'fastai fine_tune(1)': lambda trial: fastai(trial, 1),
    'fastai fine_tune(4)': lambda trial: fastai(trial, 4),
    'fastai fine_tune(10)': lambda trial: fastai(trial, 10),
    'timm, 10 epochs': timm_loop}


def turn(data, way, arch, size, seed):
    "One trial, with a cache of its own so that its seconds are its own"
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        os.environ['CATDOG_CACHE'] = folder+'/cache'
        torch.manual_seed(seed)
        return WAYS[way](Trial(data, arch, size, seed, folder+'/runs'))


def run_trial(key, data):
    "A trial in a process of its own; its line of the record"
    name, arch, size, way, seed = key
    environment = {'HF_HUB_OFFLINE': '1', **os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'}
    command = [sys.executable, __file__, '--turn', json.dumps([data, way, arch, size, seed])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == 0: result = json.loads(done.stdout.splitlines()[-1])
    else: result = dict(error=(done.stderr.strip().splitlines() or ['killed'])[-1])
    return dict(set=name, network=arch, size=size, way=way, seed=seed, load=os.getloadavg()[0], **result)


def read_record(path): return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key_of(trial): return tuple(trial[part] for part in ('set', 'network', 'size', 'way', 'seed'))


def half_width(values):
    "Of a 95% interval of a mean, by Student's t"
    from scipy.stats import t
    return t.ppf(.975, len(values)-1)*values.std(ddof=1)/len(values)**.5 if len(values) > 1 else float('nan')


def table(trials):
    "A line a set, network and way: means over the seeds, and the gain over the solved head, paired by seed"
    trials = pd.DataFrame([trial for trial in trials if 'error' not in trial])
    heads = trials[trials.way == 'solved head'].set_index(['set', 'network', 'size', 'seed']).accuracy
    for (name, arch, size, way), some in trials.groupby(['set', 'network', 'size', 'way'], sort=False):
        gain = (some.set_index(['set', 'network', 'size', 'seed']).accuracy-heads).dropna()
        over = f'{100*gain.mean():+.1f} ± {100*half_width(gain):.1f}'
        yield (f'{name}  {arch}  {size} px  {way}', len(some), f'{100*some.accuracy.mean():.1f}', over, f'{some.log_loss.mean():.3f}',
            f'{some.seconds.median():.0f}', f'{some.epochs.mean():.0f}')


def main():
    warnings.filterwarnings('ignore')
    args = arguments(__doc__.splitlines()[0],
        quick=(0, '1 takes two sets, one network and small pictures'),
        sets=(SETS, 'photos'), networks=(NETWORKS, 'timm names'), ways=(list(WAYS), 'ways to fine-tune'),
        size=(128, 'side of the input, in pixels'), seeds=([0, 1, 2], 'of the split and of the training'),
        record=(str(RECORD), 'lines of finished trials, which are not repeated'))
    if args.quick: vars(args).update(QUICK)
    path = Path(args.record)
    known = {key_of(trial) for trial in read_record(path) if 'error' not in trial}
    keys = [(name, arch, args.size, way, seed) for name in args.sets for arch in args.networks for seed in args.seeds for way in args.ways]
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        places = {name: find_set(name, folder) for name in args.sets}
        for key in keys:
            if key in known or places[key[0]] is None: continue
            trial = run_trial(key, places[key[0]])
            with open(path, 'a') as file: file.write(json.dumps(trial)+'\n')
            print(trial, file=sys.stderr, flush=True)
    trials = [trial for trial in read_record(path) if key_of(trial) in set(keys)]
    columns = ['', 'seeds', 'accuracy %', 'points over the head', 'log loss', 'seconds', 'epochs']
    title = 'Ways to fine-tune: means over seeds, each with a split of its own; seconds are medians'
    report('recipes', title, columns, list(table(trials)), args)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--turn']: print(json.dumps(turn(*json.loads(sys.argv[2]))))
    else: main()
