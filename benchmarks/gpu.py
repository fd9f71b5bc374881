"""Images a second that reach a GPU, and that it trains on: photos on the card and in memory, beside timm's and fastai's loaders."""
import shutil
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from loader import BATCH, SCALE, WORKERS
from measure import PHOTOS, arguments, find_photos, ratios, report, show, spread_of, summary, take_turns


def wait(device):
    "Until the device has done what it was given"
    if device.type == 'cuda': torch.cuda.synchronize(device)


def one_pass(loader, device):
    "Images a second of a pass over a loader whose batches end on the device"
    wait(device)
    start, n = time.perf_counter(), 0
    for batch in loader:
        images = loader.after_batch(batch)[0] if hasattr(loader, 'after_batch') and batch[0].dtype == torch.uint8 else batch[0]
        images.to(device, non_blocking=True)
        n += len(images)
    wait(device)
    return n/(time.perf_counter()-start)


def catdog_loader(photos, size, device, cache, resident):
    "A loader as `catdog train` makes it, with the photos on the device or not"
    from catdog.batches.augment import Augmentation, ResidentPhotos
    from catdog.batches.loading import LabelledPhotos, PackedLoader, train_shape
    from catdog.batches.packing import pack_photos
    from catdog.photos.preprocessing import Preprocessing
    shape = Preprocessing(size)
    pack = pack_photos(photos, train_shape(shape), cache, exact=False)
    dataset = LabelledPhotos(ResidentPhotos(pack, device) if resident else pack, np.zeros(len(photos), int), ['all'])
    return PackedLoader(dataset, BATCH, shape, Augmentation(SCALE, .2), shuffle=True, drop_last=True, device=device)


def timm_loader(folder, size, device):
    "timm's loader with its prefetcher, which normalises on the device"
    from timm.data import create_dataset, create_loader
    variation = dict(is_training=True, scale=SCALE, color_jitter=.2, interpolation='bicubic')
    workers = dict(num_workers=WORKERS, persistent_workers=True, use_prefetcher=device.type == 'cuda', device=device)
    return create_loader(create_dataset('', folder), (3, size, size), BATCH, **variation, **workers)


def fastai_loader(folder, size, device):
    "fastai's usual pipeline: resized on the CPU, varied on the device"
    from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms
    files = dict(item_tfms=Resize(460), batch_tfms=aug_transforms(size=size, min_scale=SCALE[0]))
    return ImageDataLoaders.from_folder(folder, valid_pct=.01, bs=BATCH, num_workers=WORKERS, device=device, **files).train


def one_training(batches, model, opt, device):
    "Images a second of training steps in bfloat16 over batches, and the processor's microseconds an image"
    wait(device)
    start, busy, n = time.perf_counter(), time.process_time(), 0
    for images, labels in batches:
        with torch.autocast(device.type, torch.bfloat16): logits = model(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        opt.step()
        opt.zero_grad()
        n += len(images)
    wait(device)
    return n/(time.perf_counter()-start), 1e6*(time.process_time()-busy)/n


def processor_time(loader, device):
    "The processor's microseconds an image of a pass over a loader"
    wait(device)
    busy = time.process_time()
    n = sum(len(images) for images, _ in loader)
    wait(device)
    return 1e6*(time.process_time()-busy)/n


def train(loaders, arch, size, device, repeats):
    "Images a second of each loader and of batches that are ready, turn by turn"
    import timm
    torch.backends.cudnn.benchmark = torch.backends.cuda.matmul.allow_tf32 = True
    model = timm.create_model(arch, num_classes=1000, **({'img_size': size} if 'vit' in arch else {}))
    model = model.to(device, memory_format=torch.channels_last).train()
    opt = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    one = next(iter(next(iter(loaders.values()))))
    passes = {name: partial(one_training, loader, model, opt, device) for name, loader in loaders.items()}
    passes['batches that are ready'] = partial(one_training, [one]*len(next(iter(loaders.values()))), model, opt, device)
    for each in passes.values(): each()
    return take_turns({name: lambda each=each: each()[0] for name, each in passes.items()}, repeats)


def agreement(loader, resident):
    "Levels of 255 by which the same view differs that was made on the CPU and on the device, of photos there or sent there"
    loaders = loader.new(shuffle=False, device=torch.device('cpu')), loader.new(shuffle=False), resident.new(shuffle=False)
    theirs, *ours = (next(iter(each))[0].cpu() for each in loaders)
    return max(float((each-theirs).abs().max()*255*.229) for each in ours)


def compare(folder, photos, size, device, repeats, cache):
    "Figures of one size, and the largest difference of a view"
    places = {'catdog, photos on the card': True, 'catdog, photos in memory': False}
    ours = {name: catdog_loader(photos, size, device, cache, on_card) for name, on_card in places.items()}
    loaders = {**ours, 'timm create_loader': timm_loader(folder, size, device), 'fastai': fastai_loader(folder, size, device)}
    for loader in loaders.values(): one_pass(loader, device)   # workers started, packs in memory
    on_card, in_memory = ours.values()
    turns = take_turns({name: partial(one_pass, loader, device) for name, loader in loaders.items()}, repeats)
    busy = {name: float(np.median([processor_time(loader, device) for _ in range(repeats)])) for name, loader in ours.items()}
    return turns, agreement(in_memory, on_card), busy, ours


def main():
    args = arguments(__doc__, photos=(str(PHOTOS), 'class folders of photos'), sizes=([128, 224], 'sides of the crop, in pixels'),
        device=('cuda', 'where batches end'), archs=(['mobilenetv3_small_100', 'resnet50'], 'networks that are trained'))
    if args.device == 'cuda' and not torch.cuda.is_available():
        sys.exit('benchmarks/gpu.py needs a GPU that torch can use (CUDA), and none is here')
    warnings.filterwarnings('ignore')
    folder, device, rows, targets = find_photos(args.photos), torch.device(args.device), [], []
    files = sorted(folder.rglob('*.jpg'))
    names = [f'{f.name}{f.stat().st_size}' for f in files]
    photos = pd.DataFrame(dict(path=[str(f) for f in files], sha256=names, width=500, height=400))
    cache = Path(tempfile.mkdtemp(prefix='catdog-'))
    try:
        for size in args.sizes:
            turns, levels, busy, ours = compare(str(folder), photos, size, device, args.repeats, cache)
            best = max(('timm create_loader', 'fastai'), key=lambda name: summary(turns[name])['median'])
            over = {name: summary(ratios(turns, name, best))['median'] for name in turns}
            told = {name: f'{value:.0f}' for name, value in busy.items()}
            rows += [(f'{size} px  {name}', show(values), f'{over[name]:.2f}', told.get(name, '')) for name, values in turns.items()]
            targets.append((f'{size} px, photos on the card over {best}', over['catdog, photos on the card'], 4, True))
            targets.append((f'{size} px, levels of 255 between card and CPU', levels, 4, False))
            targets.append((f'{size} px, processor microseconds a photo', busy['catdog, photos in memory'], 240, False))
            for arch in args.archs:
                turns, ready = train(ours, arch, size, device, args.repeats), 'batches that are ready'
                over = {name: summary(ratios(turns, name, ready))['median'] for name in turns}
                rows += [(f'{size} px  train {arch}, {name.removeprefix("catdog, ")}', show(values), f'{over[name]:.2f}', '')
                    for name, values in turns.items()]
                targets.append((f'{size} px, {arch}, photos on the card over {ready}', over['catdog, photos on the card'], .94, True))
    finally: shutil.rmtree(cache)
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)
    title = f'Images a second on {where}, {len(files)} photos, batches of {BATCH}: {spread_of(args.repeats)}'
    columns = ['loader', 'images a second', 'over the best other, or ready batches', 'processor, µs an image']
    report('gpu', title, columns, rows, args, targets, device=where)


if __name__ == '__main__': main()
