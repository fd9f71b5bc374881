"""What the benchmarks share: turns, medians, one table, and a record that says which machine it was measured on."""
import argparse
import compileall
import json
import os
import platform
import statistics
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT.parent/'shared'/'data'/'catdog-2k'/'train'


def arguments(description, repeats=3, **more):
    "The options all benchmarks have, and more: name=(default, help)"
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--json', type=Path, metavar='FILE', help='write a machine-readable record')
    parser.add_argument('--repeats', type=int, default=repeats, help='turns; every contender has one in each')
    for name, (default, text) in more.items():
        kind = dict(nargs='+', type=type(default[0])) if isinstance(default, list) else dict(type=type(default))
        parser.add_argument('--'+name.replace('_', '-'), default=default, help=text, **kind)
    _begin()
    return parser.parse_args()


_BEGUN = {}


def spent_seconds():
    "Processor seconds so far: of the whole machine, and of this process with all that it started"
    import psutil
    times = psutil.cpu_times()
    own = os.times()
    running = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    mine = sum(own[:4])+sum(child.user+child.system for child in running)
    return times.user+times.nice+times.system, mine


def _begin():
    "Processes start from bytecode, as pip leaves it, whatever this environment does"
    os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
    compileall.compile_dir(ROOT/'catdog', quiet=2)
    _BEGUN.update(at=time.perf_counter(), spent=spent_seconds())


def busy_share():
    "How much of the processors other work took since the options were read"
    (all_before, mine_before), (all_now, mine_now) = _BEGUN['spent'], spent_seconds()
    possible = (time.perf_counter()-_BEGUN['at'])*os.cpu_count()
    return max((all_now-all_before)-(mine_now-mine_before), 0)/possible


def quiet_environment(cache=None):
    "Variables for a command of this clone that warns of nothing and asks no hub; with a cache of its own where one is named"
    cached = dict(CATDOG_CACHE=str(cache)) if cache else {}
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore', 'HF_HUB_OFFLINE': '1', **cached}


def own_mb(pid='self'):
    """MiB that a process has for itself, 0 where it is gone. Pages that it shares with others, as after a fork, are shared out among them;
    pages of files that are mapped are the system's to take back and do not count"""
    for file, word in (('smaps_rollup', 'Pss_Anon'), ('status', 'RssAnon')):     # the second of an older kernel
        try: lines = Path(f'/proc/{pid}/{file}').read_text().splitlines()
        except OSError: continue
        found = next((int(line.split()[1])/1024 for line in lines if line.startswith(word)), None)
        if found is not None: return found
    return 0


def find_photos(folder):
    "Class folders of photos: the given ones, or drawn ones where they are not there"
    if Path(folder).is_dir(): return Path(folder)
    from catdog.photos.sources import find_source
    print(f'{Path(folder).name} is not here: taking the drawn sample')
    return find_source('sample')


def machine():
    "What the figures were measured on"
    about = Path('/proc/cpuinfo')
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    cpu = names[0] if names else platform.processor()
    memory = os.sysconf('SC_PAGE_SIZE')*os.sysconf('SC_PHYS_PAGES')/2**30 if hasattr(os, 'sysconf') else 0
    versions = {name: version(name) for name in ('torch', 'torchvision', 'timm', 'fastai', 'pillow', 'numpy')}
    return dict(cpu=cpu, cores=os.cpu_count(), memory_gb=round(memory, 1), system=platform.system(), python=platform.python_version(),
        **versions)


def timed(function):
    "Seconds a call takes, and what it returns"
    start = time.perf_counter()
    result = function()
    return time.perf_counter()-start, result


def take_turns(contenders, repeats, measure=lambda function: function()):
    "A list of figures a contender: each has a turn, then each has the next, so that a busy minute hits them all"
    figures = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, function in contenders.items(): figures[name].append(measure(function))
    return figures


def ratios(figures, name, other):
    "The ratio of two contenders, turn by turn"
    return [a/b for a, b in zip(figures[name], figures[other])]


def summary(figures):
    "Median, smallest and largest"
    return dict(median=statistics.median(figures), low=min(figures), high=max(figures), turns=list(figures))


def show(figures, digits=0):
    "Median with its spread, for a table"
    figures = figures['turns'] if isinstance(figures, dict) else figures
    return f'{statistics.median(figures):,.{digits}f} ({min(figures):,.{digits}f} to {max(figures):,.{digits}f})'


def spread_of(repeats):
    "How such figures are told in a title"
    from catdog.words import plural
    return f'median (smallest to largest) of {plural(repeats, "turn")}'


def report(name, title, columns, rows, args, targets=(), **about):
    "Print the table and whether the targets are met, and write the record; a target without a wish is said and not judged"
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    print(f'\n{title}')
    for row in [columns, ['-'*w for w in widths], *rows]:
        print('  '.join(str(cell).ljust(w) if i == 0 else str(cell).rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))
    for text, value, wanted, at_least in targets:
        if wanted is None:
            print(f'        {text}: {value:.2f}')
            continue
        met = value >= wanted if at_least else value <= wanted
        mark = 'met   ' if met else 'MISSED'
        bound = 'at least' if at_least else 'at most'
        print(f'{mark}  {text}: {value:.2f}, wanted {bound} {wanted}')
    cells = [[str(cell) for cell in row] for row in rows]
    wishes = [dict(text=t, value=round(v, 3), wanted=w, at_least=a) for t, v, w, a in targets]
    here = machine()
    about = {'machine': here, **about}   # unless it was measured elsewhere
    if about['machine'] == here:
        about['others'] = round(busy_share(), 3)
        busy = f"other work took {about['others']:.0%} of the processors meanwhile"
        print(busy+(': seconds are worth little' if about['others'] > .1 else ''))
    record = dict(benchmark=name, title=title, date=date.today().isoformat(), columns=columns, rows=cells, targets=wishes, **about)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(record, indent=1)+'\n')
    return record
