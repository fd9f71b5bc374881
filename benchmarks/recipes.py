"""Ways to fine-tune, beside each other on the same splits: accuracy and log loss on test photos against seconds and epochs.

A job is a set, a network and a seed: its photos are packed and its head is solved once, and every way is tried on it. Each trial adds a
line to the record, so a benchmark that was broken off, or that ran out of `--minutes`, goes on where it was.
"""
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from catdog.machine import end_with
from measure import ROOT, arguments, report

RECORD = ROOT/'benchmarks'/'records'/'recipes.jsonl'
SETS = ['trashnet-690', 'caltech101-1680', 'catdog-2k', 'digits', 'sample']
NETWORKS = ['tf_efficientnet_lite0', 'tf_efficientnet_lite2', 'tf_mobilenetv3_small_100', 'resnet50']
QUICK = dict(sets=['trashnet-690', 'digits'], networks=['tf_efficientnet_lite0'], size=64, folds=3)
# Mean and deviation that the weights in ../shared expect
NORMALISED = dict(tf_mobilenetv3_small_100=(.5, .5), tf_mobilenetv3_large_minimal_100=(.5, .5), resnet50=(0, 1))
SHARES = (.25, .5, .75)      # of the tuned weights, in averages with those that the tuning started from
LARGER = 1.25                # of the side of pictures: at what size a tuned network is tried as well


def draw_digits(folder):
    "scikit-learn's 1,797 digits as 28-pixel PNGs in class folders"
    from PIL import Image
    from sklearn.datasets import load_digits
    digits = load_digits()
    for i, (pixels, label) in enumerate(zip(digits.images, digits.target)):
        (folder/str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels*15.9).astype(np.uint8)).resize((28, 28)).save(folder/str(label)/f'{i:04}.png')
    return folder


def find_set(name, shared, folder):
    "Where a set lies; None where it is not here"
    if name == 'sample': return 'sample'
    if name == 'digits': return str(draw_digits(Path(folder)/'digits'))
    path = Path(shared)/'data'/name
    return str(path) if path.is_dir() else None


@dataclass(frozen=True)
class Job:
    "A split of a set, and a network with its weights"
    name:str
    data:str
    arch:str
    size:int
    seed:int         # Of the split and of the training; with folds, which of them is tested
    folds:int        # 0 splits anew with every seed
    device:str
    shared:str
    runs:str

    @property
    def settings(self):
        "What all of its runs have in common"
        common = dict(data=self.data, arch=self.arch, image_size=self.size, seed=self.seed, device=self.device)
        common.update(dict(folds=self.folds, fold=self.seed) if self.folds else dict(split_seed=self.seed))
        weights = Path(self.shared)/'weights'/f'{self.arch}.safetensors'
        if weights.is_file(): common['weights'] = str(weights)
        if self.arch in NORMALISED: common.update(zip(('mean', 'std'), NORMALISED[self.arch]))
        return common

    def config(self, **more):
        from catdog.training.config import make_config
        return make_config(**{**self.settings, 'runs': tempfile.mkdtemp(dir=self.runs), **more})

    @cached_property
    def catalogue(self):
        from catdog.photos.catalogue import catalogue_for
        return catalogue_for(self.config())

    def model(self):
        from catdog.models.backbone import build_model
        config = self.config()
        return build_model(self.arch, self.catalogue.label.nunique(), config.weights, self.size, config.mean, config.std)[:2]


def score(logits, labels):
    "Accuracy and log loss"
    logits, labels = torch.as_tensor(logits).float(), torch.as_tensor(labels)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    return dict(accuracy=round(float((logits.argmax(1) == labels).float().mean()), 5), log_loss=round(float(loss), 5))


def predict(model, loader):
    "Logits and labels of a loader"
    training = model.training
    model.eval()
    with torch.inference_mode(): logits = torch.cat([model(images.as_subclass(torch.Tensor)).float().cpu() for images, *_ in loader])
    model.train(training)
    return logits, loader.dataset.labels


def both(model, dls): return dict(valid=score(*predict(model, dls[1])), **score(*predict(model, dls[2])))


def remembered(function, known={}):
    "A function that answers at once what it was asked before: the head of a job is solved once"
    def ask(*args, **kwargs):
        key = function.__name__, *(value.tobytes() if isinstance(value, np.ndarray) else value for value in args), *kwargs.items()
        if hash(key) not in known: known[hash(key)] = function(*args, **kwargs)
        return known[hash(key)]
    return ask


def watching(job, dls, averages):
    "A callback that scores validation and test photos after each epoch, and at the end what else the weights could have become"
    from catdog.batches.loading import make_loaders
    from catdog.training.callbacks import average_with
    from fastai.callback.core import Callback
    from timm.utils import ModelEmaV3

    class Watch(Callback):
        order, run_valid = 74, False

        def before_fit(self):
            self.curve, self.others, self.spent = [], {}, 0.
            self.start = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.ema = ModelEmaV3(self.model, .98, use_warmup=True)

        def after_step(self):
            if averages: self.ema.update(self.model, step=self.epoch*self.n_iter+self.iter)

        def after_epoch(self):
            start = time.perf_counter()
            self.curve.append({**both(self.model, dls), **(dict(half=self.averaged(.5)) if averages else {})})
            self.spent += time.perf_counter()-start

        def averaged(self, share):
            "What the average with the weights of the start is worth; the weights are as before afterwards"
            now = {name: value.clone() for name, value in self.model.state_dict().items()}
            average_with(self.model, self.start, share)
            found = both(self.model, dls)
            self.model.load_state_dict(now)
            return found

        def after_fit(self):
            if not averages: return
            start = time.perf_counter()
            self.others['ema'] = both(self.ema.module, dls)
            larger = replace(dls.train.shape, size=32*round(LARGER*job.size/32))
            self.others['larger pictures'] = both(self.model, make_loaders(job.catalogue, larger, 32, 'none', device=job.device))
            self.others.update({f'average {share}': self.averaged(share) for share in SHARES})
            self.spent += time.perf_counter()-start
    return Watch()


HEADS = {}   # seconds that the head of a job took, once


def catdog(job, averages=False, **settings):
    "A run of catdog with some settings; its seconds are those of the head and of the epochs"
    from catdog.training import finetune
    for name in ('solve_head', 'held_out_logits'):
        if getattr(finetune, name).__name__ == name: setattr(finetune, name, remembered(getattr(finetune, name)))
    training = finetune.prepare(job.config(**settings), job.catalogue, progress=False)
    watch = watching(job, training.dls, averages)
    training.learner.add_cb(watch)
    with training.learner.no_bar(), training.learner.no_logging(): run = finetune.fit(training)
    timings, history = run.info['timings'], [row._asdict() for row in run.history.itertuples(index=False)]
    split = job.name, job.arch, job.size, job.seed, job.folds
    head = HEADS.setdefault(split, timings.get('head_seconds', 0)+timings.get('head_saved', 0))
    epochs = sum(row['phase'] == 'train' for row in history)
    seconds = head+timings.get('fit_seconds', 0)-getattr(watch, 'spent', 0)
    more = dict(curve=getattr(watch, 'curve', []), others=getattr(watch, 'others', {}), history=history, resolved=training.resolved,
        head={name: timings.get(name) for name in ('head_right', 'head_temperature', 'head_c')}, kept=timings.get('best_epoch'),
        judged=timings.get('judged'))
    return dict(**both(training.model, training.dls), seconds=seconds, epochs=epochs, **more)


def taught(job, arch):
    "catdog's default with a teacher of the same photos; its seconds are the student's alone"
    from catdog.training import finetune
    own = replace(job, arch=arch)
    training = finetune.prepare(own.config(), job.catalogue, progress=False)
    with training.learner.no_bar(), training.learner.no_logging(): run = finetune.fit(training)
    return dict(**catdog(job, teacher=str(run.folder)), teacher=dict(arch=arch, **both(training.model, training.dls)))


def logistic_regression(job):
    "scikit-learn on the features of the centre crops, its C by five folds"
    from catdog.batches.loading import make_loaders
    from catdog.models.features import compute_features
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    catalogue, start = job.catalogue, time.perf_counter()
    model, shape = job.model()
    model.to(job.device)
    dls = make_loaders(catalogue, shape, 32, 'none', device=job.device)
    loaders = (dls.train.new(shuffle=False, drop_last=False), dls.valid, dls[2])
    sides = [compute_features(model, loader, photos=len(catalogue)) for loader in loaders]
    (x, y), (test_x, test_y) = (np.concatenate(part) for part in zip(*sides[:2])), sides[2]
    chosen = LogisticRegressionCV(Cs=np.logspace(-4, 0, 5), cv=5, scoring='neg_log_loss', max_iter=2000, use_legacy_attributes=False)
    fit = make_pipeline(StandardScaler(), chosen).fit(x, y)
    return dict(**score(fit.predict_log_proba(test_x), test_y), seconds=time.perf_counter()-start, epochs=0)


def fastai(job, epochs):
    "vision_learner and fine_tune with fastai's own defaults, and the same weights"
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms, vision_learner
    catalogue = job.catalogue
    rows = catalogue[catalogue.split.isin(['train', 'valid'])]
    rows = rows.assign(name=rows.path.astype(str), held=rows.split == 'valid')
    start, (model, shape) = time.perf_counter(), job.model()
    transforms = [*aug_transforms(size=job.size, min_scale=.75), Normalize.from_stats(shape.mean, shape.std)]
    columns = dict(fn_col='name', label_col='label', valid_col='held', path='/', num_workers=0, device=torch.device(job.device))
    dls = ImageDataLoaders.from_df(rows, item_tfms=Resize(int(job.size/.875)), batch_tfms=transforms, bs=32, **columns)
    learn = vision_learner(dls, job.arch, pretrained=False, normalize=False)
    body = learn.model[0].model
    body.load_state_dict({name: value for name, value in model.state_dict().items() if name in body.state_dict()}, strict=False)
    learn.freeze()
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(epochs)
    seconds, test = time.perf_counter()-start, catalogue[catalogue.split == 'test']
    with learn.no_bar(): chances, _ = learn.get_preds(dl=dls.test_dl(test.path.astype(str).tolist()))
    return dict(**score(chances.clamp_min(1e-9).log(), np.searchsorted(list(dls.vocab), test.label)), seconds=seconds, epochs=epochs+1)


def timm_loop(job, epochs=10):
    "timm's recommended fine-tuning as a plain loop: AdamW, cosine, RandAugment, mixup, smoothing, EMA, layer decay"
    from catdog.batches.loading import make_loaders
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3
    catalogue, start = job.catalogue, time.perf_counter()
    model, shape = job.model()
    model.to(job.device)
    dls = make_loaders(catalogue, shape, 32, 'randaugment', seed=job.seed, device=job.device)
    mix = Mixup(mixup_alpha=.2, label_smoothing=.1, num_classes=len(dls.vocab))
    ema, loss = ModelEmaV3(model, decay=.98), SoftTargetCrossEntropy()
    optimizer = create_optimizer_v2(model, 'adamw', weight_decay=.05, layer_decay=.75)
    rates = [1e-3*group.get('lr_scale', 1) for group in optimizer.param_groups]   # smaller towards the stem
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, epochs*len(dls.train))
    for _ in range(epochs):
        model.train()
        for images, labels in dls.train:
            images, labels = (batch.as_subclass(torch.Tensor) for batch in (images, labels))
            even = len(images)//2*2
            images, targets = mix(images[:even].contiguous(), labels[:even])
            loss(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            ema.update(model)
    seconds = time.perf_counter()-start
    return dict(**score(*predict(ema.module, dls[2])), seconds=seconds, epochs=epochs)


def tuned(epochs, lr, **settings):
    "A run that is tuned for so long at such a rate; its last weights count, and what else they could have become is noted"
    return partial(catdog, averages=True, recipe='finetune', epochs=epochs, lr=lr, keep='last', **settings)


STRONG = dict(augmentation='strong', mixup=.2)
WAYS = {
    'solved head': partial(catdog, recipe='frozen'),
    'tuned 10 at 1e-3': tuned(10, 1e-3),
    'fastai fine_tune(4)': partial(fastai, epochs=4),
    'tuned 5 at 1e-3': tuned(5, 1e-3),
    'tuned 20 at 1e-3': tuned(20, 1e-3),
    'catdog': catdog,
    'tuned 10 at 3e-4': tuned(10, 3e-4),
    'logistic regression': logistic_regression,
    'timm, 10 epochs': timm_loop,
    'tuned 20 at 1e-3, strong': tuned(20, 1e-3, **STRONG),
    'tuned 10 at 3e-3': tuned(10, 3e-3),
    'fastai fine_tune(10)': partial(fastai, epochs=10),
    'fastai fine_tune(1)': partial(fastai, epochs=1),
    'tuned 10 at 1e-3, layer decay': tuned(10, 1e-3, layer_decay=.75),
    'tuned 10 at 1e-3, smoothed': tuned(10, 1e-3, label_smoothing=.1),
    'tuned 10 at 1e-3, strong': tuned(10, 1e-3, **STRONG),
    'tuned 10 at 1e-3, own statistics': tuned(10, 1e-3, norms='batch'),
    'tuned 10 at 1e-3, even rates': tuned(10, 1e-3, stem_lr_ratio=1.),
    'tuned 5 at 3e-4': tuned(5, 3e-4),
    'tuned 10 at 1e-4': tuned(10, 1e-4),
    'tuned 20 at 3e-4': tuned(20, 3e-4),
    'tuned 20 at 3e-4, strong': tuned(20, 3e-4, **STRONG),
    'timm, 20 epochs': partial(timm_loop, epochs=20),
    'catdog, taught by a mobilenetv3_large': partial(taught, arch='tf_mobilenetv3_large_minimal_100')}


def try_way(job, way):
    "A trial as a line of the record"
    torch.manual_seed(job.seed)
    split = dict(set=job.name, network=job.arch, size=job.size, seed=job.seed, folds=job.folds)
    start, about = time.perf_counter(), dict(**split, way=way, device=job.device)
    try: result = WAYS[way](job)
    except Exception as error: result = dict(error=f'{type(error).__name__}: {error}', where=traceback.format_exc()[-1500:])
    return dict(**about, **result, wall=round(time.perf_counter()-start, 2), load=os.getloadavg()[0])


def try_ways(job, ways, until, record):
    "The ways of a job, one after the other, until time is out; each adds its line at once"
    warnings.filterwarnings('ignore')
    for way in ways:
        if time.time() > until: return job
        with open(record, 'a') as file: file.write(json.dumps(try_way(job, way))+'\n')
    return job


def read_record(path): return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key_of(trial): return tuple(trial.get(part, 0) for part in ('set', 'network', 'size', 'seed', 'folds', 'way'))


def run_jobs(jobs, args, until):
    "Every job in a process of its own, some at a time"
    known = {key_of(trial) for trial in read_record(args.out) if 'error' not in trial}
    open_ways = {job: [way for way in args.ways if (job.name, job.arch, job.size, job.seed, job.folds, way) not in known] for job in jobs}
    spawn = multiprocessing.get_context('spawn')
    ends = dict(initializer=end_with, initargs=(os.getpid(),))       # whatever ends this process ends its workers
    with ProcessPoolExecutor(args.workers, mp_context=spawn, max_tasks_per_child=1, **ends) as pool:
        tasks = [pool.submit(try_ways, job, ways, until, args.out) for job, ways in open_ways.items() if ways]
        for task in as_completed(tasks):
            job = task.result()
            print(f'{job.name}  {job.arch}  seed {job.seed}: done', file=sys.stderr, flush=True)


def half_width(values):
    "Of a 95% interval of a mean, by Student's t"
    from scipy.stats import t
    return t.ppf(.975, len(values)-1)*values.std(ddof=1)/len(values)**.5 if len(values) > 1 else float('nan')


def outcomes(trials):
    "Every score there is as a row: of the trials, and of what else the weights of a tuned network could have become"
    for trial in trials:
        if 'error' in trial: continue
        about = {name: trial.get(name, 0) for name in ('set', 'network', 'size', 'seed', 'folds', 'seconds', 'epochs')}
        yield dict(**about, way=trial['way'], accuracy=trial['accuracy'], log_loss=trial['log_loss'])
        others = trial.get('others') or {}
        for name, found in others.items(): yield dict(**about, way=f"{trial['way']}: {name}", **plain(found))
        kept = [found for name, found in others.items() if name in CANDIDATES]
        if not kept: continue
        best = min([trial, *kept], key=lambda found: found['valid']['log_loss'])
        yield dict(**about, way=f"{trial['way']}: last or average, by validation", **plain(best))


CANDIDATES = ('average 0.5', 'average 0.75')   # beside the last weights, as catdog has them


def plain(found): return dict(accuracy=found['accuracy'], log_loss=found['log_loss'])


def paired(some, other):
    "Points of accuracy of a way over another, and half a 95% interval over the splits that both were tried on"
    points = (100*(some.accuracy-other.accuracy)).dropna()
    return f'{points.mean():+.1f} ± {half_width(points):.1f}' if len(points) > 1 else f'{points.mean():+.1f}' if len(points) else ''


def table(trials):
    "A line a set, network and way: means over the splits; the gain over the solved head and what the default has over it, both paired"
    rows = pd.DataFrame(list(outcomes(trials)))
    if rows.empty: return
    order = {name: place for place, name in enumerate([*SETS, *NETWORKS])}
    rows = rows.sort_values(['set', 'network'], key=lambda names: names.map(order), kind='stable')
    split = ['set', 'network', 'size', 'seed', 'folds']
    heads, ours = (rows[rows.way == way].set_index(split) for way in ('solved head', 'catdog'))
    for (name, arch, size, folds, way), some in rows.groupby(['set', 'network', 'size', 'folds', 'way'], sort=False):
        some = some.set_index(split)
        loss, splits = (some.log_loss-heads.log_loss).dropna(), f'{len(some)} of {folds} folds' if folds else f'{len(some)} seeds'
        accuracy = f'{100*some.accuracy.mean():.1f}', paired(some, heads), paired(ours, some)
        losses = f'{some.log_loss.mean():.3f}', f'{loss.mean():+.3f}'
        costs = f'{some.seconds.median():.0f}', f'{some.epochs.mean():.0f}'
        yield f'{name}  {arch}  {size} px  {way}', splits, *accuracy, *losses, *costs


def make_jobs(args, folder):
    "A job a set, network and seed, of the sets that are here; photos are audited once, before jobs share what was found"
    from catdog.photos.catalogue import make_catalogue
    places = {name: find_set(name, args.shared, folder) for name in args.sets}
    for place in places.values():
        if place: make_catalogue(place)
    common = dict(size=args.size, folds=args.folds, device=args.device, shared=args.shared, runs=folder)
    for seed in args.seeds:
        for name in args.sets:
            for arch in args.networks:
                if places[name]: yield Job(name=name, data=places[name], arch=arch, seed=seed, **common)


def main():
    warnings.filterwarnings('ignore')
    start = time.time()
    args = arguments(__doc__.splitlines()[0],
        quick=(0, '1 takes two sets, one network and small pictures'),
        sets=(SETS, 'photos'), networks=(NETWORKS, 'timm names'), ways=(list(WAYS), 'ways to fine-tune'),
        size=(128, 'side of the input, in pixels'), seeds=([0, 1, 2], 'of the split and of the training'),
        folds=(0, 'parts of all photos, each tested once, in place of seeds'),
        device=('cpu', 'where networks are computed'), workers=(1, 'jobs at a time; seconds mean something with one'),
        shared=(str(ROOT.parent/'shared'), 'folder with data/SET and weights/NETWORK.safetensors'),
        lines=(0, '1 runs nothing, and makes the table of the lines that are there'),
        where=('', 'what the lines were measured on, where that is another machine'), minutes=(1e6, 'after which no trial is begun'),
        out=(str(RECORD), 'lines of finished trials, which are not repeated'))
    if args.quick: vars(args).update(QUICK)
    if args.folds: args.seeds = list(range(args.folds))
    args.out, args.shared = Path(args.out), str(Path(args.shared).resolve())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        os.environ.update({'CATDOG_CACHE': folder+'/cache', 'PYTHONWARNINGS': 'ignore', 'HF_HUB_OFFLINE': '1'})
        if not args.lines: run_jobs(list(make_jobs(args, folder)), args, start+60*args.minutes)
    chosen = dict(set=args.sets, network=args.networks, way=args.ways, seed=args.seeds)
    trials = [trial for trial in read_record(args.out) if all(trial[part] in some for part, some in chosen.items())]
    over = ['points over the head', 'of the default over it']
    columns = ['', 'splits', 'accuracy %', *over, 'log loss', 'over the head', 'seconds', 'epochs']
    title = 'Ways to fine-tune: means over splits, differences paired with 95% intervals; seconds are medians'
    if args.where: title = f'{title} ({args.where})'
    elsewhere = dict(machine=dict(where=args.where)) if args.where else {}
    report('recipes', title, columns, list(table(trials)), args, **elsewhere)


if __name__ == '__main__': main()
