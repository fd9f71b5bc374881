"""Seconds and memory of the audit, of packing and of an epoch's batches, at three sizes of a data set; each in a new process."""
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from measure import arguments, own_mb, quiet_environment, report, take_turns

SIDE = 64   # of the drawn photos, in pixels


def draw(job):
    "Distinct smooth pictures of coloured noise, as small JPEG files"
    folder, first, last = job
    for i in range(first, last):
        noise = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder/'ab'[i % 2]/f'{i:06}.jpg', quality=85)


def draw_photos(folder, n):
    for name in 'ab': (folder/name).mkdir(parents=True)
    with ProcessPoolExecutor() as pool: list(pool.map(draw, [(folder, i, min(n, i+1000)) for i in range(0, n, 1000)]))
    return folder


class Memory(threading.Thread):
    "The most memory of its own this process has had, in MiB"
    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0

    def run(self):
        while True:
            self.peak = max(self.peak, own_mb())
            time.sleep(.02)


def stage(name, folder, cache):
    "One stage, in a process of its own: its seconds and its peak of memory in MiB"
    import pandas as pd
    from catdog.photos.preprocessing import Preprocessing
    from catdog.photos.catalogue import make_catalogue
    from catdog.batches.loading import make_loaders
    table, shape = Path(cache)/'catalogue.parquet', Preprocessing(48)
    if name != 'audit': catalogue = pd.read_parquet(table)
    memory = Memory()
    memory.start()
    start = time.perf_counter()
    if name == 'audit': catalogue = make_catalogue(folder)
    else: dls = make_loaders(catalogue, shape, 64, cache=Path(cache)/'packs')
    if name == 'epoch':
        start = time.perf_counter()
        for _ in dls.train: pass
    seconds = time.perf_counter()-start
    if name == 'audit': catalogue.assign(path=catalogue.path.astype(str)).to_parquet(table)
    print(json.dumps([seconds, memory.peak]))


def run(name, folder, cache):
    command = [sys.executable, __file__, '--stage', name, folder, cache]
    done = subprocess.run(command, capture_output=True, text=True, env=quiet_environment(cache))
    if done.returncode: raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    warnings.filterwarnings('ignore')
    args = arguments(__doc__, sizes=([1000, 10000, 100000], 'numbers of photos'))
    rows, figures, stages = [], {}, ('audit', 'packing', 'epoch')
    for n in args.sizes:
        with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
            photos = draw_photos(Path(folder)/'photos', n)
            def all_stages():
                with tempfile.TemporaryDirectory(dir=folder) as cache: return {name: run(name, photos, cache) for name in stages}
            turns = take_turns({'catdog': all_stages}, args.repeats)['catdog']
        for name in stages: figures[n, name] = np.median([turn[name] for turn in turns], axis=0)
        for name in stages:
            seconds, memory = figures[n, name]
            rows.append((f'{n:,} photos  {name}', f'{seconds:.2f}', f'{1000*seconds/n:.3f}', f'{memory:.0f}'))
    targets = []
    few, many = args.sizes[-2:]
    for name in stages:
        seconds_more, memory_more = figures[many, name]-figures[few, name]
        slope = seconds_more/(many-few)*few/figures[few, name][0]
        growth = memory_more*1024/(many-few)
        targets += [(f'{name}, time a photo from {few:,} to {many:,} over that up to {few:,}', slope, 1.1, False),
            (f'{name}, memory a photo more, in KiB', growth, 4, False)]
    units = 'seconds, milliseconds a photo, and peak of own memory in MiB'
    title = f'{SIDE}-pixel drawn photos: {units}, medians of {args.repeats} turns'
    medians = {f'{n} {name}': list(map(float, v)) for (n, name), v in figures.items()}
    report('scale', title, ['stage', 'seconds', 'ms a photo', 'MiB'], rows, args, targets, figures=medians)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--stage']: stage(*sys.argv[2:])
    else: main()
