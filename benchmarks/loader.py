"""Images a second that reach the network: catdog beside fastai, timm and torchvision, the same files cropped and mirrored."""
import shutil
import tempfile
import threading
import time
import warnings
from functools import partial
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
    from fastai.vision.all import CategoryBlock, DataBlock, FlipItem, ImageBlock, Normalize
    from fastai.vision.all import RandomResizedCrop, Resize, aug_transforms, imagenet_stats, parent_label
    item = [Resize(460)] if presize else [RandomResizedCrop(size, min_scale=SCALE[0]), FlipItem()]
    batch = [*(aug_transforms(size=size, min_scale=.75) if presize else []), Normalize.from_stats(*imagenet_stats)]
    def all_to_train(items): return list(range(len(items))), []
    block = DataBlock(blocks=(ImageBlock, CategoryBlock), get_items=lambda _: files, get_y=parent_label, splitter=all_to_train,
        item_tfms=item, batch_tfms=batch)
    return block.dataloaders('.', bs=BATCH, num_workers=WORKERS, persistent_workers=True, device=torch.device('cpu')).train


def timm_loader(folder, size):
    from timm.data import create_dataset, create_loader
    return create_loader(create_dataset('', folder), (3, size, size), BATCH, is_training=True, use_prefetcher=False, scale=SCALE,
        color_jitter=None, interpolation='bicubic', num_workers=WORKERS, persistent_workers=True)


def torchvision_loader(folder, size, tensors, jitter=0.):
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2
    crop = [v2.RandomResizedCrop(size, SCALE, interpolation=v2.InterpolationMode.BICUBIC, antialias=True), v2.RandomHorizontalFlip()]
    if jitter: crop.append(v2.ColorJitter(jitter, jitter, jitter))
    end = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((.485, .456, .406), (.229, .224, .225))]
    if not tensors: data = ImageFolder(folder, v2.Compose([*crop, v2.PILToTensor(), *end]))
    else: data = ImageFolder(folder, v2.Compose([*crop, *end]), loader=lambda path: decode_image(path, ImageReadMode.RGB))
    return torch.utils.data.DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True)


def packed_loader(photos, size, cache, jitter=0.):
    from catdog.photos.preprocessing import Preprocessing
    from catdog.batches.packing import pack_photos
    from catdog.batches.augment import Augmentation
    from catdog.batches.loading import LabelledPhotos, PackedLoader, train_shape
    shape = Preprocessing(size)
    pack = pack_photos(photos, train_shape(shape), cache, workers=WORKERS, exact=False)
    dataset, how = LabelledPhotos(pack, np.zeros(len(photos), int), ['all']), Augmentation(SCALE, jitter)
    return PackedLoader(dataset, BATCH, shape, how, threads=WORKERS, shuffle=True, drop_last=True, device=torch.device('cpu'))


def bare_loop(pack, size, normal=False):
    "Images a second of plain threads that crop from the packed pixels and do nothing else, or normalise eight at a time as well"
    from catdog.photos.preprocessing import Preprocessing
    from catdog.batches.augment import crop_and_resize, draw_numbers, normalize, random_boxes
    rng, n, shape, kind = np.random.default_rng(0), len(pack), Preprocessing(size), torch.float32 if normal else torch.uint8
    out = torch.empty((BATCH*WORKERS, 3, size, size), dtype=kind, memory_format=torch.channels_last)
    order, mirrored = rng.permutation(n), rng.random(n) < .5
    boxes = random_boxes(*pack.shapes.T, draw_numbers(0, 0, range(n)), SCALE).tolist()
    def crop(i):
        view = crop_and_resize(pack[order[i]], boxes[order[i]], size)
        return view.flip(-1) if mirrored[i] else view
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
    makers = {
        'fastai presize': lambda: fastai_loader(files[::4], size, True),
        'fastai RandomResizedCrop': lambda: fastai_loader(files, size, False),
        'timm create_loader': lambda: timm_loader(folder, size),
        'torchvision ImageFolder': lambda: torchvision_loader(folder, size, False),
        'torchvision on tensors': lambda: torchvision_loader(folder, size, True),
        'torchvision on tensors with colour': lambda: torchvision_loader(folder, size, True, .2)}
    passes = {name: partial(fresh, make) for name, make in makers.items()}
    first = take_turns({**passes, 'catdog': lambda: first_pass(photos, size)}, 1)
    loaders = {name: make() for name, make in makers.items()}
    loaders.update({'catdog': packed_loader(photos, size, cache), 'catdog with colour': packed_loader(photos, size, cache, .2)})
    pack = loaders['catdog'].dataset.photos
    for name, loader in loaders.items(): one_pass(loader)   # workers started, files and packs in memory
    contenders = {name: partial(one_pass, loader) for name, loader in loaders.items()}
    contenders['bare loop on packed pixels'] = partial(bare_loop, pack, size)
    contenders['bare loop, normalised'] = partial(bare_loop, pack, size, normal=True)
    steady = take_turns(contenders, repeats)
    more = take_turns({'catdog': lambda: first_pass(photos, size), **{name: passes[name] for name in list(passes)[1:]}}, repeats-1)
    return steady, {name: [*first[name], *more.get(name, [])] for name in first}


def main():
    from catdog.device import keep_freed_memory
    warnings.filterwarnings('ignore')
    keep_freed_memory()   # as in every training of catdog
    args = arguments(__doc__, photos=(str(PHOTOS), 'class folders of photos'), sizes=([128, 224], 'sides of the crop, in pixels'))
    folder = find_photos(args.photos)
    files = sorted(folder.rglob('*.jpg'))
    names = [f'{f.name}{f.stat().st_size}' for f in files]
    photos = pd.DataFrame(dict(path=[str(f) for f in files], sha256=names, width=500, height=400))
    cache, rows, targets, figures = Path(tempfile.mkdtemp(prefix='catdog-')), [], [], {}
    named = ['fastai presize', 'fastai RandomResizedCrop', 'timm create_loader', 'torchvision ImageFolder', 'torchvision on tensors']
    try:
        for size in args.sizes:
            steady, first = measure(str(folder), photos, size, args.repeats, cache)
            best = lambda group: max(named, key=lambda name: summary(group[name])['median'])
            for name, values in steady.items():
                ratio = summary(ratios(steady, name, best(steady)))['median']
                rows.append((f'{size} px  {name}', show(values), show(first[name]) if name in first else '', f'{ratio:.2f}'))
            def over(name, other, figures=steady): return summary(ratios(figures, name, other))['median']
            colour = 'torchvision on tensors with colour'
            targets += [
                (f'{size} px, steady state over {best(steady)}', over('catdog', best(steady)), 4, True),
                (f'{size} px, with colour over {colour}', over('catdog with colour', colour), 4, True),
                (f'{size} px, first pass with packing over {best(first)}', over('catdog', best(first), first), 1, True),
                (f'{size} px, of the bare loop', over('catdog', 'bare loop on packed pixels'), .75, True),
                (f'{size} px, of the bare loop that normalises too', over('catdog', 'bare loop, normalised'), .75, True)]
            figures[size] = dict(steady={k: summary(v) for k, v in steady.items()}, first={k: summary(v) for k, v in first.items()})
    finally: shutil.rmtree(cache)
    what = f'Images a second, {WORKERS} workers, {len(files)} photos, batches of {BATCH}'
    report('loader', f'{what}: median (smallest to largest) of {args.repeats} turns', ['loader', 'steady state', 'first pass', 'over the best other'], rows, args, targets, figures=figures)


if __name__ == '__main__': main()
