"""The most memory that `catdog train --recipe frozen` takes at two sizes of a data set, and its seconds: whole commands from cold, with
the audit, the head, the test, the export and the costs. Photos are drawn; all processes of a command are counted together."""
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from measure import arguments, own_mb, quiet_environment, report

SIDE = 320     # of the drawn photos, in pixels: what a pack keeps for training at 224


def draw(job):
    "Smooth coloured noise as JPEG files; those of the second class are darker, so that there is something to learn"
    folder, first, last = job
    for i in range(first, last):
        noise = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)//(1+i%2)
        Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder/'ab'[i%2]/f'{i:06}.jpg', quality=85)


def draw_photos(folder, n):
    for name in 'ab': (folder/name).mkdir(parents=True)
    with ProcessPoolExecutor() as pool: list(pool.map(draw, [(folder, i, min(n, i+500)) for i in range(0, n, 500)]))
    return folder


def watch(process):
    "The most memory of its own, in MiB, that a command and all processes it started had together"
    peak = 0
    while process.poll() is None:
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        peak = max(peak, sum(map(own_mb, family)))
        time.sleep(.1)
    return peak


def train(arch, size, photos, folder):
    "Seconds and peak memory in MiB of the command, and the test photos it saw"
    command = ['train', '--arch', arch, '--recipe', 'frozen', '--data', str(photos), '--image-size', str(size), '--runs', f'{folder}/runs']
    start, told, environment = time.perf_counter(), Path(folder)/'told.txt', quiet_environment(f'{folder}/cache')
    with open(told, 'w') as file:
        process = subprocess.Popen([sys.executable, '-m', 'catdog', *command], env=environment, stdout=file, stderr=file)
        peak = watch(process)
    if process.returncode: raise SystemExit(told.read_text())
    tested = re.search(r'on\s+([\d,]+)\s+test', told.read_text())
    return time.perf_counter()-start, peak, tested[1]


def main():
    args = arguments(__doc__, repeats=1, sizes=([2500, 25000], 'numbers of photos'), arch=('tf_efficientnet_lite0', 'network'),
        image_size=(224, 'side of the square input'))
    rows, figures = [], {}
    for n in args.sizes:
        with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
            photos = draw_photos(Path(folder)/'photos', n)
            seconds, peak, tested = train(args.arch, args.image_size, photos, folder)
        figures[n] = dict(seconds=seconds, peak_mb=peak)
        rows.append((f'{n:,} photos, {tested} of them tested', f'{seconds:.0f}', f'{1000*seconds/n:.1f}', f'{peak/1024:.2f}'))
        print(*rows[-1], flush=True)
    few, many = args.sizes[0], args.sizes[-1]
    growth = 1024*(figures[many]['peak_mb']-figures[few]['peak_mb'])/(many-few)
    rows.append(('each photo more, in KiB', '', '', f'{growth:.0f}'))
    targets = [(f'{many:,} photos, peak memory in GiB', figures[many]['peak_mb']/1024, 2.5, False)]
    title = f'catdog train --recipe frozen, {args.arch}, {args.image_size} px, drawn photos of {SIDE} px, one turn'
    report('memory', title, ['photos', 'seconds', 'ms a photo', 'GiB of its own'], rows, args, targets, figures=figures)


if __name__ == '__main__': main()
