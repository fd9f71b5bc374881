"""What a training view costs the processor, by where it is finished: microseconds of one thread a photo, and bytes that go over the bus.

For a CPU, views are cut, resized, mirrored, coloured and normalised. For a GPU that does not hold the photos their boxes are cut out,
and the card does the rest; "whole levels" are views that the processor resizes, mirrors and colours for a GPU, as is usual. Memory is
not pinned here, which takes a card's driver."""
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from loader import BATCH, COLOUR, SCALE, packed_loader
from measure import PHOTOS, arguments, find_photos, report, show, spread_of, summary, take_turns


def finished(loader, kind, rows):
    "A batch of views made whole by the processor: float32 and normalised, or uint8"
    from catdog.batches.augment import augment, draw_numbers
    out = torch.empty((len(rows), 3, loader.shape.size, loader.shape.size), dtype=kind, memory_format=torch.channels_last)
    return [augment([loader.dataset.photos[i] for i in rows], loader.shape, draw_numbers(0, 0, rows), loader.strength, out)]


def microseconds(make, n):
    "Of one thread a photo, over batches of so many photos"
    start, batches = time.thread_time(), [range(first, first+BATCH) for first in range(0, n-BATCH+1, BATCH)]
    for rows in batches: make(rows)
    return 1e6*(time.thread_time()-start)/(BATCH*len(batches))


def kilobytes(batch): return sum(part.nbytes for part in batch if isinstance(part, torch.Tensor))/BATCH/1000


def makers_of(photos, size, cache):
    "Who makes a batch of some rows, by where it is finished"
    loader = packed_loader(photos, size, cache, COLOUR)
    return {'for a CPU': partial(finished, loader, torch.float32), 'for a GPU': lambda rows: loader._cut_batch(rows, 0, loader.strength),
        'whole levels': partial(finished, loader, torch.uint8)}


def main():
    from catdog.device import keep_freed_memory
    keep_freed_memory()   # as in every training of catdog
    args = arguments(__doc__.splitlines()[0], repeats=5, photos=(str(PHOTOS), 'class folders of photos'),
        sizes=([128, 224], 'sides of the crop, in pixels'), n=(640, 'photos'))
    torch.set_num_threads(1)
    files = sorted(find_photos(args.photos).rglob('*.jpg'))
    files = files[::max(1, len(files)//args.n)]
    photos = pd.DataFrame(dict(path=[str(f) for f in files], sha256=[f'{f.name}{f.stat().st_size}' for f in files], width=500, height=400))
    cache, rows, targets, figures = Path(tempfile.mkdtemp(prefix='catdog-')), [], [], {}
    try:
        for size in args.sizes:
            makers = makers_of(photos, size, cache)
            sent = {name: kilobytes(make(range(BATCH))) for name, make in makers.items()}
            work = take_turns(makers, args.repeats, partial(microseconds, n=len(files)))
            figures[size] = {name: summary(values) for name, values in work.items()}
            rows += [(f'{size} px  {name}', show(values), f'{sent[name]:,.0f}') for name, values in work.items()]
            targets.append((f'{size} px, processor µs a photo for a GPU', figures[size]['for a GPU']['median'], 240, False))
    finally: shutil.rmtree(cache)
    what = f'Views with crops of {SCALE[0]} to {SCALE[1]} of the area, mirrored, colours by a fifth, batches of {BATCH}'
    title = f'{what}: {spread_of(args.repeats)}'
    report('views', title, ['', 'processor µs a photo', 'kB a photo'], rows, args, targets, figures=figures)


if __name__ == '__main__': main()
