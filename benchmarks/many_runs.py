"""Seconds of a sweep of many small runs, beside the same notebook run by papermill once for each of them, one after the other.

Each run trains, tests, exports and measures a small network on the drawn sample; nothing is in the cache when either begins. Of the runs
by papermill only every fifth is made, and seconds are told a run."""
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, arguments, quiet_environment, report, show, spread_of, summary, timed

ARCHS = ['mobilenetv3_small_050', 'lcnet_050', 'resnet10t', 'baseline']


def seconds_of(command, folder):
    "Of a command with a cache of its own"
    where = dict(env=quiet_environment(f'{folder}/cache'), cwd=folder)
    seconds, done = timed(lambda: subprocess.run([sys.executable, '-m', *map(str, command)], capture_output=True, text=True, **where))
    if done.returncode: raise SystemExit(done.stdout+done.stderr)
    return seconds


def finished(folder):
    "How many runs were finished"
    records = [json.loads(path.read_text()) for path in Path(folder).glob('runs/*/run.json')]
    return sum(record['status'] == 'finished' for record in records)


def sweep(archs, seeds, settings):
    "Seconds a run of the sweep"
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        grid = [f"arch={','.join(archs)}", f"seed={','.join(map(str, seeds))}", *settings, f'runs={folder}/runs']
        seconds, made = seconds_of(['catdog', 'sweep', *grid], folder), finished(folder)
    assert made == len(archs)*len(seeds), f'{made} runs were finished'
    return seconds/made


def one_by_one(archs, seeds, settings):
    "Seconds a run of every fifth of the same runs by papermill"
    chosen = list(itertools.product(archs, seeds))[::5]
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        seconds = 0
        for arch, seed in chosen:
            values = dict(setting.split('=') for setting in settings) | dict(arch=arch, seed=seed, runs=f'{folder}/runs')
            options = [part for name, value in values.items() for part in ('-p', name, value)]
            seconds += seconds_of(['papermill', ROOT/'nbs'/'train.ipynb', f'{folder}/{arch}-{seed}.ipynb', *options], folder)
        assert finished(folder) == len(chosen)
    return seconds/len(chosen)


def main():
    args = arguments(__doc__.splitlines()[0], repeats=1, archs=(ARCHS, 'small networks'), seeds=(10, 'runs of each'),
        size=(64, 'side of the input, in pixels'), epochs=(1, 'of each run'))
    work = args.archs, range(args.seeds), ['data=sample', f'image_size={args.size}', f'epochs={args.epochs}', 'weights=none']
    turns = {'sweep': [], 'papermill': []}
    for _ in range(args.repeats):
        turns['papermill'].append(one_by_one(*work))
        turns['sweep'].append(sweep(*work))
    ratio = summary([ours/theirs for ours, theirs in zip(turns['sweep'], turns['papermill'])])['median']
    runs = len(args.archs)*args.seeds
    rows = [(f'catdog sweep of {runs} runs', show(turns['sweep'], 2), f'{ratio:.2f}'),
        ('papermill, a command for each run', show(turns['papermill'], 2), '1.00')]
    what = f'Small networks, {args.size} px, {args.epochs} epoch, drawn sample'
    report('many_runs', f'{what}: seconds a run, {spread_of(args.repeats)}',
        ['', 'seconds a run', 'over papermill'], rows, args, [(f'a sweep of {runs} runs over papermill', ratio, .35, False)])


if __name__ == '__main__': main()
