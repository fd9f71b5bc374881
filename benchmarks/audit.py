"""The audit beside a bare Pillow loop with the same workers, a second audit beside the first, its memory,
and the search for copies among a million."""
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from catdog.photos.audit import AuditCache, audit_photos
from catdog.photos.duplicates import near_pairs
from catdog.photos.sources import find_photos
from measure import PHOTOS, arguments, report, show, spread_of, summary, timed
from measure import find_photos as photos_folder

HASHES, PLANTED, DISTANCE = 1_000_000, 1_000, 4

AUDIT = """
import sys
from catdog.photos.audit import AuditCache, audit_photos
from catdog.photos.sources import find_photos
audit_photos(find_photos(sys.argv[1]), int(sys.argv[3]), cache=AuditCache(sys.argv[2]))
"""


def bare_loop(paths, workers):
    "Decode to RGB by Pillow in threads: what a script would do"
    def decode(path):
        with Image.open(path) as image: return image.convert('RGB').size
    with ThreadPoolExecutor(workers) as pool: return sum(1 for _ in pool.map(decode, paths))


def audit_speed(photos, workers, folder):
    "Photos a second of the bare loop, the first audit and the second, turn by turn"
    bare, _ = timed(lambda: bare_loop(photos.path, workers))
    cache = AuditCache(folder/'audit.sqlite')
    first, found = timed(lambda: audit_photos(photos, workers, cache=cache))
    again, same = timed(lambda: audit_photos(photos, workers, cache=cache))
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
    peak = 0
    with tempfile.TemporaryDirectory() as cache:
        process = psutil.Popen([sys.executable, '-c', AUDIT, folder, f'{cache}/audit.sqlite', str(workers)])
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
    took, found = timed(lambda: near_pairs(hashes, DISTANCE))
    missed = planted-{tuple(map(int, pair)) for pair in found}
    assert not missed, f'{len(missed)} planted pairs were not found'
    return took


def main():
    args = arguments(__doc__, photos=(str(PHOTOS), 'class folders of photos'), workers=(os.cpu_count(), 'processes'))
    scratch = Path(tempfile.mkdtemp(prefix='catdog-benchmark-'))
    try:
        given = find_photos(photos_folder(args.photos))
        photos = find_photos(copies(given, 10_000, scratch/'many'))
        bare_loop(photos.path, args.workers)   # so that all are in the page cache
        runs = []
        for i in range(args.repeats):
            (scratch/str(i)).mkdir()
            runs.append(audit_speed(photos, args.workers, scratch/str(i)))
        small, large = copies(given, 2_000, scratch/'small'), copies(given, 20_000, scratch/'large')
        memory = [(audit_memory(small, args.workers), audit_memory(large, args.workers)) for _ in range(args.repeats)]
        searches = [search(seed) for seed in range(args.repeats)]
    finally: shutil.rmtree(scratch)
    speed = [r['bare']/r['first'] for r in runs]
    again = [r['again']/r['first'] for r in runs]
    growth = [large-small for small, large in memory]
    figures = {'bare Pillow loop, photos a second': [len(photos)/r['bare'] for r in runs],
        'audit, photos a second': [len(photos)/r['first'] for r in runs],
        'second audit, photos a second': [len(photos)/r['again'] for r in runs],
        'peak memory of 2,000 photos, MiB': [small for small, large in memory], 'of 20,000 photos, MiB more': growth}
    copied = f'copies among {HASHES:,} fingerprints, {PLANTED:,} planted and found, seconds'
    rows = [*((name, show(values)) for name, values in figures.items()), (copied, show(searches, 1))]
    targets = [('audit over the bare loop', summary(speed)['median'], .7, True),
        ('second audit over the first', summary(again)['median'], .1, False),
        ('memory of 20,000 photos over that of 2,000, in MiB', summary(growth)['median'], 300, False),
        (copied, summary(searches)['median'], 60, False)]
    turns = spread_of(args.repeats)
    title = f'{len(photos):,} photos, each of its own content, {args.workers} workers: {turns}'
    summaries = {name: summary(values) for name, values in {**figures, copied: searches}.items()}
    report('audit', title, ['', 'measured'], rows, args, targets, figures=summaries)


if __name__ == '__main__': main()
