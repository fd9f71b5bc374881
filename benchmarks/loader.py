"""Images a second that reach the network: catdog beside fastai, timm, torchvision, DALI and FFCV, the same photos cropped and mirrored.

FFCV reads packed pixels as catdog does, and gets those that catdog packed; the others decode JPEGs in every epoch. FFCV and DALI take
part where they are installed (rivals.py says how)."""
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

from measure import PHOTOS, arguments, find_photos, ratios, report, show, spent_seconds, spread_of, summary, take_turns
from rivals import dali_loader, ffcv_loader, is_here, write_beton

SCALE, BATCH, WORKERS, COLOUR = (.35, 1), 32, 2, .2
PACKED = ('FFCV raw', 'FFCV JPEG')     # those that read photos which were packed before


def one_pass(loader, work=None):
    "Images a second of a pass over a loader; processor microseconds a photo are added to `work`"
    start, n, before = time.perf_counter(), 0, spent_seconds()[1]
    for batch in loader: n += len(batch[0])
    rate = n/(time.perf_counter()-start)
    if work is not None: work.append(1e6*(spent_seconds()[1]-before)/n)
    return rate


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


def decoding_loaders(folder, files, size):
    "Makers of the loaders that decode JPEGs in every epoch"
    makers = {
        'fastai presize': lambda: fastai_loader(files[::4], size, True),
        'fastai RandomResizedCrop': lambda: fastai_loader(files, size, False),
        'timm create_loader': lambda: timm_loader(folder, size),
        'torchvision ImageFolder': lambda: torchvision_loader(folder, size, False),
        'torchvision on tensors': lambda: torchvision_loader(folder, size, True),
        'torchvision on tensors with colour': lambda: torchvision_loader(folder, size, True, COLOUR)}
    if is_here('nvidia.dali'):
        makers['DALI on the CPU'] = lambda: dali_loader(folder, size, SCALE, BATCH, WORKERS)
        makers['DALI on the CPU with colour'] = lambda: dali_loader(folder, size, SCALE, BATCH, WORKERS, COLOUR)
    return makers


def packed_rivals(pack, size, cache):
    "FFCV's loaders on the pixels that catdog packed, and the bytes of its files"
    if not is_here('ffcv'): return {}, {}
    files = {'FFCV raw': cache/f'{size}.raw', 'FFCV JPEG': cache/f'{size}.jpg'}
    disk = {name: write_beton(pack, file, 'raw' if name == 'FFCV raw' else 'jpg') for name, file in files.items()}
    def loader(name, *colour): return ffcv_loader(files[name], size, SCALE, BATCH, WORKERS, *colour)
    loaders = {name: loader(name) for name in files}
    loaders['FFCV raw with its colour'] = loader('FFCV raw', COLOUR, True)
    loaders["FFCV raw with torchvision's colour"] = loader('FFCV raw', COLOUR)
    return loaders, disk


def measure(folder, photos, size, repeats, cache):
    "Figures of one size: in steady state, of the first pass, processor time a photo, and bytes on the disk"
    files = [Path(p) for p in photos.path]
    makers = decoding_loaders(folder, files, size)
    passes = {name: partial(fresh, make) for name, make in makers.items()}
    first = take_turns({**passes, 'catdog': lambda: first_pass(photos, size)}, 1)
    loaders = {name: make() for name, make in makers.items()}
    loaders.update({'catdog': packed_loader(photos, size, cache), 'catdog with colour': packed_loader(photos, size, cache, COLOUR)})
    pack = loaders['catdog'].dataset.photos
    rivals, disk = packed_rivals(pack, size, cache)
    loaders.update(rivals)
    disk.update({'catdog': pack.pixels.nbytes, 'the JPEGs themselves': sum(f.stat().st_size for f in files)})
    for loader in loaders.values(): one_pass(loader)   # workers started, files and packs in memory
    work = {name: [] for name in loaders}
    contenders = {name: partial(one_pass, loader, work[name]) for name, loader in loaders.items()}
    contenders['bare loop on packed pixels'] = partial(bare_loop, pack, size)
    contenders['bare loop, normalised'] = partial(bare_loop, pack, size, normal=True)
    steady = take_turns(contenders, repeats)
    more = take_turns({'catdog': lambda: first_pass(photos, size), **{name: passes[name] for name in list(passes)[1:]}}, repeats-1)
    return steady, {name: [*first[name], *more.get(name, [])] for name in first}, work, disk


def targets_of(size, steady, first):
    "What is wanted of the ratios at one size; over the strongest of each kind, and the smallest ratio first"
    def over(name, other, figures=steady): return summary(ratios(figures, name, other))['median']
    def best(names, figures=steady): return max(names, key=lambda name: summary(figures[name])['median'])
    plain = [name for name in first if name != 'catdog' and 'colour' not in name]
    coloured = [name for name in steady if 'colour' in name and name != 'catdog with colour']
    decoding = [name for name in coloured if not name.startswith('FFCV')]
    found = [(f'{size} px, over {name}', over('catdog', name), 1.2 if name == 'FFCV raw' else 2, True) for name in PACKED if name in steady]
    packed = [name for name in coloured if name not in decoding]
    found += [(f'{size} px, with colour over {name}', over('catdog with colour', name), 2, True) for name in packed]
    return found+[
        (f'{size} px, over {best(plain)}', over('catdog', best(plain)), 4, True),
        (f'{size} px, with colour over {best(decoding)}', over('catdog with colour', best(decoding)), 4, True),
        (f'{size} px, first pass with packing over {best(plain, first)}', over('catdog', best(plain, first), first), 1, True),
        (f'{size} px, of the bare loop', over('catdog', 'bare loop on packed pixels'), .75, True),
        (f'{size} px, of the bare loop that normalises too', over('catdog', 'bare loop, normalised'), .75, True)]


def rows_of(size, steady, first, work, disk):
    "The table's rows of one size"
    rows = []
    for name, values in steady.items():
        mine = 'catdog with colour' if 'colour' in name else 'catdog'
        ratio = summary(ratios(steady, mine, name))['median']
        said = [show(values), show(first[name]) if name in first else '', show(work[name]) if name in work else '']
        megabytes = f'{disk[name]/1e6:,.0f}' if name in disk else ''
        rows.append((f'{size} px  {name}', *said, megabytes, f'{ratio:.2f}'))
    return [*rows, (f'{size} px  the JPEGs themselves', '', '', '', f"{disk['the JPEGs themselves']/1e6:,.0f}", '')]


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
    try:
        for size in args.sizes:
            steady, first, work, disk = measure(str(folder), photos, size, args.repeats, cache)
            rows += rows_of(size, steady, first, work, disk)
            targets += targets_of(size, steady, first)
            named = dict(steady=steady, first=first, work=work)
            figures[size] = {kind: {k: summary(v) for k, v in found.items()} for kind, found in named.items()} | dict(disk=disk)
    finally: shutil.rmtree(cache)
    what = f'Images a second, {WORKERS} workers, {len(files)} photos, batches of {BATCH}'
    columns = ['loader', 'steady state', 'first pass', 'processor µs a photo', 'MB on the disk', 'catdog over it']
    report('loader', f'{what}: {spread_of(args.repeats)}', columns, rows, args, targets, figures=figures)


if __name__ == '__main__': main()
