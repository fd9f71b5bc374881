"""The audit beside a bare Pillow loop with the same workers, a second audit beside the first, its memory, and the search for copies among a million.

python benchmarks/audit.py [PHOTOS] [--json FILE]: PHOTOS is a folder of class folders; without it, drawn photos are used. At most a few minutes on two cores."""
import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from catdog.audit import AuditCache, audit_photos
from catdog.duplicates import near_pairs
from catdog.sample import draw_sample
from catdog.sources import find_photos

HASHES, PLANTED, DISTANCE = 1_000_000, 1_000, 4


def seconds(function):
    "How long a call takes, and what it returns"
    start = time.perf_counter()
    result = function()
    return time.perf_counter()-start, result


def bare_loop(paths, workers):
    "Decode to RGB by Pillow in threads: what a script would do"
    def decode(path):
        with Image.open(path) as image: return image.convert('RGB').size
    with ThreadPoolExecutor(workers) as pool: return sum(1 for _ in pool.map(decode, paths))


def audit_speed(photos, workers, folder):
    "Photos a second of the bare loop, the first audit and the second, turn by turn"
    bare, _ = seconds(lambda: bare_loop(photos.path, workers))
    cache = AuditCache(folder/'audit.sqlite')
    first, found = seconds(lambda: audit_photos(photos, workers, cache=cache))
    again, same = seconds(lambda: audit_photos(photos, workers, cache=cache))
    assert same.equals(found) and (found.status == 'ok').all()
    return dict(bare=bare, first=first, again=again)


def copies(photos, n, folder):
    "A folder of n photos, each of other content: bytes after the end of a JPEG do not show"
    paths = photos.path.sample(frac=1, random_state=0).tolist()
    for i in range(n):
        source = Path(paths[i%len(paths)])
        target = folder/source.parent.name/f'{i}.jpg'
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes()+i.to_bytes(8, 'big'))
    return folder


def audit_memory(folder, workers):
    "Peak MiB of an audit in a process of its own, with its workers"
    code = 'import sys; from catdog.audit import AuditCache, audit_photos; from catdog.sources import find_photos; audit_photos(find_photos(sys.argv[1]), int(sys.argv[3]), cache=AuditCache(sys.argv[2]))'
    peak = 0
    with tempfile.TemporaryDirectory() as cache:
        process = psutil.Popen([sys.executable, '-c', code, folder, f'{cache}/audit.sqlite', str(workers)])
        while process.poll() is None:
            held = 0
            for each in [process, *process.children()]:
                try: held += each.memory_info().rss
                except psutil.NoSuchProcess: pass
            peak = max(peak, held)
            time.sleep(.1)
    assert process.returncode == 0
    return peak/2**20


def plant_pairs(seed):
    "Random fingerprints with pairs at most DISTANCE bits apart, and the places of the pairs"
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, HASHES, np.uint64)
    pairs = rng.permutation(HASHES)[:2*PLANTED].reshape(-1, 2)
    for a, b in pairs:
        bits = rng.permutation(64)[:rng.integers(1, DISTANCE+1)]
        hashes[b] = hashes[a]^np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64))
    return hashes, {tuple(sorted(map(int, pair))) for pair in pairs}


def search(seed):
    "Seconds to find all planted pairs"
    hashes, planted = plant_pairs(seed)
    took, found = seconds(lambda: near_pairs(hashes, DISTANCE))
    missed = planted-{tuple(map(int, pair)) for pair in found}
    assert not missed, f'{len(missed)} planted pairs were not found'
    return took


def spread(values): return f'{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('photos', nargs='?', help='folder of class folders (default: 2,000 drawn photos)')
    parser.add_argument('--json', help='file for the record')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix='catdog-benchmark-'))
    try:
        photos = find_photos(asked.photos or draw_sample(scratch/'sample', 2000))
        given, photos = photos, find_photos(copies(photos, 10_000, scratch/'many'))
        bare_loop(photos.path, asked.workers)   # so that all are in the page cache
        runs = []
        for i in range(asked.repeats):
            (scratch/str(i)).mkdir()
            runs.append(audit_speed(photos, asked.workers, scratch/str(i)))
        small, large = copies(given, 2_000, scratch/'small'), copies(given, 20_000, scratch/'large')
        memory = [(audit_memory(small, asked.workers), audit_memory(large, asked.workers)) for _ in range(asked.repeats)]
        searches = [search(seed) for seed in range(asked.repeats)]
    finally: shutil.rmtree(scratch)
    ratios, again = [r['bare']/r['first'] for r in runs], [r['again']/r['first'] for r in runs]
    growth = [large-small for small, large in memory]
    rows = [('bare Pillow loop', 'photos/s', [len(photos)/r['bare'] for r in runs], ''), ('audit', 'photos/s', [len(photos)/r['first'] for r in runs], ''),
            ('audit over bare loop', 'ratio', ratios, '0.7 or more'), ('second audit over first', 'ratio', again, '0.1 or less'),
            ('peak memory, 2,000 photos', 'MiB', [m[0] for m in memory], ''), ('peak memory, 20,000 more than 2,000', 'MiB', growth, '300 or less'),
            (f'copies among {HASHES:,} fingerprints, {PLANTED:,} planted, all found', 's', searches, '60 or less')]
    width = max(len(name) for name, *_ in rows)
    print(f"{len(photos):,} photos (copies of {len(given):,} {asked.photos and 'of '+Path(asked.photos).name or 'drawn ones'}, each of its own content), {asked.workers} workers, {asked.repeats} repeats: median (least to most)\n")
    for name, unit, values, target in rows: print(f'{name:{width}}  {unit:8}  {spread(values):28}  {target}')
    record = dict(benchmark='audit', photos=len(photos), workers=asked.workers, cores=os.cpu_count(), machine=platform.processor() or platform.machine(), python=platform.python_version(),
        rows=[dict(name=name, unit=unit, median=statistics.median(values), values=values, target=target) for name, unit, values, target in rows])
    if asked.json: Path(asked.json).write_text(json.dumps(record, indent=1)+'\n')
    missed = [name for name, ok in (('speed', statistics.median(ratios) >= .7), ('second audit', statistics.median(again) <= .1), ('memory', statistics.median(growth) <= 300), ('search', statistics.median(searches) <= 60)) if not ok]
    if missed: sys.exit(f"missed: {', '.join(missed)}")
