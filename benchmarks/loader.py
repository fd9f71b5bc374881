"""Images a second that reach the network: catdog beside fastai, timm and torchvision, on the same files, random-resized-crop and mirroring each."""
import shutil
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from measure import PHOTOS, arguments, find_photos, ratios, report, show, summary, take_turns

SCALE, BATCH, WORKERS = (.35, 1), 32, 2


def one_pass(loader):
    "Images a second of a pass over a loader"
    start, n = time.perf_counter(), 0
    for batch in loader: n += len(batch[0])
    return n/(time.perf_counter()-start)


def fastai_loader(files, size, presize):
    from fastai.vision.all import CategoryBlock, DataBlock, FlipItem, ImageBlock, Normalize, RandomResizedCrop, Resize, aug_transforms, imagenet_stats, parent_label
    item = [Resize(460)] if presize else [RandomResizedCrop(size, min_scale=SCALE[0]), FlipItem()]
    batch = [*(aug_transforms(size=size, min_scale=.75) if presize else []), Normalize.from_stats(*imagenet_stats)]
    block = DataBlock(blocks=(ImageBlock, CategoryBlock), get_items=lambda _: files, get_y=parent_label, splitter=lambda items: (list(range(len(items))), []), item_tfms=item, batch_tfms=batch)
    return block.dataloaders('.', bs=BATCH, num_workers=WORKERS, persistent_workers=True, device=torch.device('cpu')).train


def timm_loader(folder, size):
    from timm.data import create_dataset, create_loader
    return create_loader(create_dataset('', folder), (3, size, size), BATCH, is_training=True, use_prefetcher=False, scale=SCALE, color_jitter=None, interpolation='bicubic', num_workers=WORKERS, persistent_workers=True)


def torchvision_loader(folder, size, tensors):
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2
    crop = [v2.RandomResizedCrop(size, SCALE, interpolation=v2.InterpolationMode.BICUBIC, antialias=True), v2.RandomHorizontalFlip()]
    end = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((.485, .456, .406), (.229, .224, .225))]
    data = ImageFolder(folder, v2.Compose([*crop, *([] if tensors else [v2.PILToTensor()]), *end]), **(dict(loader=lambda path: decode_image(path, ImageReadMode.RGB)) if tensors else {}))
    return torch.utils.data.DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True)


def packed_loader(photos, size, cache, jitter=0.):
    from catdog.photos.preprocessing import Preprocessing
    from catdog.batches.packing import pack_photos
    from catdog.batches.augment import Augmentation
    from catdog.batches.loading import LabelledPhotos, PackedLoader, train_shape
    shape = Preprocessing(size)
    pack = pack_photos(photos, train_shape(shape), cache, workers=WORKERS, exact=False)
    return PackedLoader(LabelledPhotos(pack, np.zeros(len(photos), int), ['all']), BATCH, shape, Augmentation(SCALE, jitter), threads=WORKERS, shuffle=True, drop_last=True, device=torch.device('cpu'))


def bare_loop(pack, size, normal=False):
    "Images a second of plain threads that crop from the packed pixels and do nothing else, or normalise eight at a time as well"
    from catdog.photos.preprocessing import Preprocessing
    from catdog.batches.augment import crop_and_resize, draw_numbers, normalize, random_boxes
    out, rng, n, shape = torch.empty((BATCH*WORKERS, 3, size, size), dtype=torch.float32 if normal else torch.uint8, memory_format=torch.channels_last), np.random.default_rng(0), len(pack), Preprocessing(size)
    order, boxes, mirrored = rng.permutation(n), random_boxes(*pack.shapes.T, draw_numbers(0, 0, range(n)), SCALE).tolist(), rng.random(n) < .5
    def crop(i): return crop_and_resize(pack[order[i]], boxes[order[i]], size, mirror=mirrored[i])
    def work(k):
        torch.set_num_threads(1)
        if not normal:
            for i in range(k, n, WORKERS): out[i % len(out)] = crop(i)[0]
        else:
            for i in range(8*k, n-7, 8*WORKERS): normalize(torch.cat([crop(j) for j in range(i, i+8)]), shape, out[i % len(out):][:8])
    threads = [threading.Thread(target=work, args=(k,)) for k in range(WORKERS)]
    start = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return n/(time.perf_counter()-start)


def first_pass(photos, size):
    "Images a second of the first pass ever: nothing is packed yet"
    cache = Path(tempfile.mkdtemp(prefix='catdog-'))
    try:
        start = time.perf_counter()
        loader = packed_loader(photos, size, cache)
        for _ in loader: pass
        return len(photos)/(time.perf_counter()-start)
    finally: shutil.rmtree(cache)


def fresh(make):
    "Images a second of a new loader's first pass: its workers are started too"
    start, n = time.perf_counter(), 0
    for batch in make(): n += len(batch[0])
    return n/(time.perf_counter()-start)


def measure(folder, photos, size, repeats, cache):
    "Figures of one size, in steady state and of the first pass"
    files = [Path(p) for p in photos.path]
    makers = {'fastai presize': lambda: fastai_loader(files[::4], size, True), 'fastai RandomResizedCrop': lambda: fastai_loader(files, size, False),
        'timm create_loader': lambda: timm_loader(folder, size), 'torchvision ImageFolder': lambda: torchvision_loader(folder, size, False),
        'torchvision on tensors': lambda: torchvision_loader(folder, size, True)}
    first = take_turns({**{name: lambda make=make: fresh(make) for name, make in makers.items()}, 'catdog': lambda: first_pass(photos, size)}, 1)
    loaders = {name: make() for name, make in makers.items()}
    loaders.update({'catdog': packed_loader(photos, size, cache), 'catdog with colour': packed_loader(photos, size, cache, .2)})
    pack = loaders['catdog'].dataset.photos
    for name, loader in loaders.items(): one_pass(loader)   # workers started, files and packs in memory
    contenders = {**{name: lambda loader=loader: one_pass(loader) for name, loader in loaders.items()}, 'bare loop on packed pixels': lambda: bare_loop(pack, size), 'bare loop, normalised': lambda: bare_loop(pack, size, normal=True)}
    steady = take_turns(contenders, repeats)
    more = take_turns({'catdog': lambda: first_pass(photos, size), **{name: lambda make=makers[name]: fresh(make) for name in list(makers)[1:]}}, repeats-1)
    return steady, {name: [*first[name], *more.get(name, [])] for name in first}


def main():
    from catdog.device import keep_freed_memory
    warnings.filterwarnings('ignore')
    keep_freed_memory()   # as in every training of catdog
    args = arguments(__doc__, photos=(str(PHOTOS), 'class folders of photos'), sizes=([128, 224], 'sides of the crop, in pixels'))
    folder = find_photos(args.photos)
    files = sorted(folder.rglob('*.jpg'))
    photos = pd.DataFrame(dict(path=[str(f) for f in files], sha256=[f'{f.name}{f.stat().st_size}' for f in files], width=500, height=400))
    cache, rows, targets, figures = Path(tempfile.mkdtemp(prefix='catdog-')), [], [], {}
    named = ['fastai presize', 'fastai RandomResizedCrop', 'timm create_loader', 'torchvision ImageFolder']
    try:
        for size in args.sizes:
            steady, first = measure(str(folder), photos, size, args.repeats, cache)
            best = lambda group: max(named, key=lambda name: summary(group[name])['median'])
            rows += [(f'{size} px  {name}', show(values), show(first[name]) if name in first else '', f"{summary(ratios(steady, name, best(steady)))['median']:.2f}") for name, values in steady.items()]
            targets += [(f'{size} px, steady state over {best(steady)}', summary(ratios(steady, 'catdog', best(steady)))['median'], 4, True),
                (f'{size} px, first pass with packing over {best(first)}', summary(ratios(first, 'catdog', best(first)))['median'], 1.3, True),
                (f'{size} px, of the bare loop', summary(ratios(steady, 'catdog', 'bare loop on packed pixels'))['median'], .75, True),
                (f'{size} px, of the bare loop that normalises too', summary(ratios(steady, 'catdog', 'bare loop, normalised'))['median'], .75, True)]
            figures[size] = dict(steady={k: summary(v) for k, v in steady.items()}, first={k: summary(v) for k, v in first.items()})
    finally: shutil.rmtree(cache)
    report('loader', f'Images a second, {WORKERS} workers, {len(files)} photos, batches of {BATCH}: median (smallest to largest) of {args.repeats} turns',
        ['loader', 'steady state', 'first pass', 'over the best other'], rows, args, targets, figures=figures)


if __name__ == '__main__': main()
