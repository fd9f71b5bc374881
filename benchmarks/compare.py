"""How long `catdog compare` takes over many runs, and how much memory: run folders in, report out."""
import subprocess
import sys
import tempfile
from pathlib import Path

from honesty import Cell, draw_answers, place_networks, write_runs
from measure import arguments, report, show, spread_of, summary

MOST_SECONDS, MOST_MIB = 60, 2048


def make_runs(folder, setups, seeds, photos):
    "Finished runs of simulated networks"
    cell = Cell(photos, .97, setups, seeds, 'spread')
    rng = cell.rng(0)
    right, _ = draw_answers(cell, place_networks(cell, rng), rng, 0)
    write_runs(folder, cell, right)


def compare(runs, out):
    "Seconds of reading, comparing, and choosing with the report, and peak memory in MiB, in a process of its own"
    code = f'''
import resource, time
from catdog.comparison.choose import choose
from catdog.comparison.compare import compare_runs
from catdog.comparison.gather import read_runs
from catdog.comparison.report import write_report
start = time.perf_counter()
found = read_runs({str(runs)!r})
read = time.perf_counter()
comparison = compare_runs(*found)
compared = time.perf_counter()
write_report(comparison, {str(out)!r}, choose(comparison))
ended = time.perf_counter()
print(read-start, compared-read, ended-compared, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return list(map(float, done.stdout.split()))


def main():
    args = arguments(__doc__, setups=(200, 'setups'), seeds=(10, 'runs of each'), photos=(500, 'test photos'))
    with tempfile.TemporaryDirectory(prefix='catdog-benchmark-') as scratch:
        make_runs(Path(scratch)/'runs', args.setups, args.seeds, args.photos)
        turns = [compare(Path(scratch)/'runs', Path(scratch)/'report') for _ in range(args.repeats)]
    read, compared, written, memory = zip(*turns)
    whole = [sum(turn[:3]) for turn in turns]
    figures = {'reading, seconds': read, 'comparing, seconds': compared, 'choosing and the report, seconds': written,
        'all, seconds': whole, 'peak memory, MiB': memory}
    runs = args.setups*args.seeds
    targets = [(f'seconds for {runs:,} runs', summary(whole)['median'], MOST_SECONDS, False),
        ('peak memory in MiB', summary(memory)['median'], MOST_MIB, False)]
    measured = spread_of(args.repeats)
    title = f'{runs:,} runs of {args.setups} setups on {args.photos} test photos; {measured}'
    rows = [(name, show(values, 1)) for name, values in figures.items()]
    summaries = {name: summary(values) for name, values in figures.items()}
    report('compare', title, ['', 'measured'], rows, args, targets, figures=summaries)


if __name__ == '__main__': main()
