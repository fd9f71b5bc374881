"""Does the comparison keep its word? Simulated networks of known truth go through catdog's own compare and choose.

Every photo has a difficulty; a network meets it in its own way, a seed again in its own, and a seed shifts its network as a whole.
What is stated (intervals, verdicts, choices, p-values, what to expect of the best) is then held against the truth."""
import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from catdog.comparison.choose import choose
from catdog.comparison.compare import Comparison, compare_runs
from catdog.comparison.gather import COLUMNS, read_runs
from catdog.comparison.statistics import Tested
from catdog.evaluation.metrics import quality

SHARES = dict(photo=.6, network=.2, seed=.2)     # of what makes a photo easy or hard: for all, for one network, for one run of it
SEED_SHIFT = .1                                  # standard deviation of a seed's skill, in the same unit
PLACES = ('beyond', 'equal', 'spread')           # where the true accuracies lie, see `place_networks`


@dataclass(frozen=True)
class Cell:
    "A setting that is simulated many times"
    photos:int
    best:float               # True accuracy of the best
    networks:int
    seeds:int
    place:str                # One of `PLACES`
    delta:float = 1.         # Points that are asked about
    burst:int = 1            # Near-copies of each photo

    def rng(self, run):
        shape = (self.photos, int(1e4*self.best), self.networks, self.seeds, self.burst)
        return np.random.default_rng((run, PLACES.index(self.place), *shape))


def place_networks(cell, rng):
    "True accuracies, cheapest network first"
    if cell.place == 'equal': return np.full(cell.networks, cell.best)
    if cell.place == 'beyond': return np.r_[cell.best-cell.delta/100-.0005, np.full(cell.networks-1, cell.best)]
    return np.sort(cell.best-rng.uniform(0, 3*cell.delta/100, cell.networks))


def draw_answers(cell, accuracies, rng):
    "bool (photos, networks, seeds): right or not; and the true accuracy of each run, (networks, seeds)"
    skill = norm.ppf(accuracies)*np.sqrt(1+SEED_SHIFT**2)
    skill = skill[:, None]+rng.normal(0, SEED_SHIFT, (cell.networks, cell.seeds))
    shape = dict(photo=(1, 1), network=(cell.networks, 1), seed=(cell.networks, cell.seeds))
    scenes = -(-cell.photos//cell.burst)
    ease = sum(rng.normal(0, share**.5, (scenes, *shape[name])) for name, share in SHARES.items())
    return np.repeat(skill+ease > 0, cell.burst, axis=0)[:cell.photos], norm.cdf(skill)


def names_of(cell): return [f'net{i:02}' for i in range(cell.networks)]


def as_record(cell, network, seed):
    "What run.json says of a simulated run; cost grows with the network's number"
    name, cost = names_of(cell)[network], float(network+1)
    return dict(name=f'{name}-{seed}', status='finished', config=dict(arch=name, data='simulated', seed=seed, image_size=96),
        resolved=dict(recipe='full', epochs=4, lr=1e-3, augmentation='light'), weights=dict(used='none', source=''),
        hardware=dict(cpu='none', cores=2, gpus=[]), versions={'catdog-timm': 'simulated'}, timings=dict(train_seconds=cost),
        catalogue=dict(id='simulated', classes=['cat', 'dog'], photos={'train/cat': 400, 'train/dog': 400}),
        cost=dict(parameters=1000, macs=1000, latency_ms=cost, latency_p95_ms=cost, images_per_second=1., peak_memory_mb=1., file_mb=cost))


def write_runs(folder, cell, right):
    "The runs as folders, as a training leaves them"
    label = np.where(np.arange(cell.photos) % 2, 'dog', 'cat')
    sha256, group = ([f'{i//of:064x}' for i in range(cell.photos)] for of in (1, cell.burst))
    photos = pd.DataFrame(dict(sha256=sha256, label=label, group=group))
    for network, seed in product(range(cell.networks), range(cell.seeds)):
        record = as_record(cell, network, seed)
        p_cat = np.where(right[:, network, seed] == (label == 'cat'), .9, .1)
        table = photos.assign(p_cat=p_cat, p_dog=1-p_cat)
        run = Path(folder)/record['name']
        run.mkdir(parents=True)
        table.to_parquet(run/'predictions.parquet', index=False)
        (run/'run.json').write_text(json.dumps({**record, 'metrics': quality(table)}))


def as_tables(cell, right):
    "The same in memory: what `read_runs` and `tested_runs` would read"
    runs = list(product(range(cell.networks), range(cell.seeds)))
    names = [f'{names_of(cell)[n]}-{s}' for n, s in runs]
    setup = [names_of(cell)[n] for n, _ in runs]
    cost = [float(n+1) for n, _ in runs]
    accuracy = right.mean(0).ravel()
    table = pd.DataFrame({c: None for c in COLUMNS}, index=range(len(runs)))
    table = table.assign(name=names, setup=setup, arch=setup, weights='none', recipe='full', image_size=96, seed=[s for _, s in runs])
    table = table.assign(data='simulated', train_photos=800, subset=0, reviewed=False, accuracy=accuracy, log_loss=1-accuracy)
    table = table.assign(latency_ms=cost, file_mb=cost, macs=1e3, train_seconds=cost, photos=cell.photos)
    table = table.assign(machine='none', version='simulated', settings='{}', folder=names)
    photos = [f'{i:064x}' for i in range(cell.photos)]
    group = pd.Series([i//cell.burst for i in range(cell.photos)], photos) if cell.burst > 1 else None
    correct = pd.DataFrame(right.reshape(cell.photos, -1).astype(float), photos, names)
    return table, Tested(correct, pd.Series(setup, names), pd.Series([s for _, s in runs], names), group)


def simulate(cell, run, through_folders=False)->tuple[Comparison, pd.Series]:
    "One comparison, and the true accuracy of each setup: of its one network where it has one seed"
    rng = cell.rng(run)
    accuracies = place_networks(cell, rng)
    right, of_runs = draw_answers(cell, accuracies, rng)
    truth = pd.Series(accuracies if cell.seeds > 1 else of_runs[:, 0], names_of(cell))
    if not through_folders:
        table, tested = as_tables(cell, right)
        return compare_runs(table, tested=tested), truth
    with tempfile.TemporaryDirectory() as folder:
        write_runs(folder, cell, right)
        return compare_runs(*read_runs(folder)), truth


def judge_choice(comparison, truth, delta):
    "Of a choice: whether it is decided; decided and wrong; whether something is shown; shown and wrong; and whether the cheapest was shown"
    choice = choose(comparison, delta=delta)
    good, cost = truth >= truth.max()-choice.delta, comparison.rows.latency_ms
    right = cost[good].idxmin()
    verdict = {c['setup']: c['verdict'] for c in choice.candidates}[choice.chosen]
    shown = choice.decided and verdict == 'good enough' or 'is shown to be within' in choice.reason
    found, missed = (choice.decided and (choice.chosen == right) is same for same in (True, False))
    return dict(decided=choice.decided, wrong=missed, shown=shown, shown_wrong=shown and not good[choice.chosen], found=found)


def judge(comparison, truth, delta):
    "Everything that is stated, held against the truth"
    rows, pairs, best = comparison.rows, comparison.pairs, comparison.expected
    own = truth[rows.index]
    apart = truth[pairs['first']].to_numpy()-truth[pairs['second']].to_numpy()
    each = (pairs.low <= apart) & (apart <= pairs.high)
    together = bool(((pairs.low_all <= apart) & (apart <= pairs.high_all)).all())
    told = dict(accuracy=((rows.accuracy_low <= own) & (own <= rows.accuracy_high)).mean(), pair=each.mean(), all_pairs=together,
        best_held=best['low'] <= truth[best['setup']] <= best['high'],
        best_alone=rows.accuracy_low.iloc[0] <= own.iloc[0] <= rows.accuracy_high.iloc[0],
        flattered=best['accuracy']-truth[best['setup']], expected_off=best['expected']-truth[best['setup']],
        alarm=bool((pairs.p_holm[np.abs(apart) < 1e-12] < .05).any()))
    by_default = {f'default_{name}': value for name, value in judge_choice(comparison, truth, None).items()}
    return {**told, **judge_choice(comparison, truth, delta), **by_default}


def measure(cell, times):
    "Means over many comparisons of one cell"
    found = pd.DataFrame([judge(*simulate(cell, run), cell.delta) for run in range(times)]).astype(float)
    return {**asdict(cell), 'times': times, **found.mean().to_dict()}


def same_by_folders(cell):
    "Whether the comparison in memory is the one that is read from run folders"
    memory, folders = simulate(cell, 0)[0], simulate(cell, 0, through_folders=True)[0]
    columns = ['difference', 'low', 'high', 'p_value', 'low_all', 'high_all']
    order = ['first', 'second']
    ours, theirs = (c.pairs.set_index(order).sort_index()[columns] for c in (memory, folders))
    return bool(np.allclose(ours, theirs)) and choose(memory).to_dict()['chosen'] == choose(folders).to_dict()['chosen']


def grid(full=True):
    "The cells that are measured"
    few = ((150, 2, 1, 'beyond'), (500, 2, 1, 'beyond'), (500, 6, 1, 'beyond'), (500, 3, 3, 'beyond'), (2500, 2, 1, 'beyond'),
        (500, 6, 1, 'equal'), (500, 4, 2, 'spread'))
    if not full: return [Cell(photos, .99, networks, seeds, place) for photos, networks, seeds, place in few]
    shapes = [(2, 1), (6, 1), (12, 1), (2, 3), (6, 3), (4, 5), (3, 2)]
    settings = product((150, 500, 2500), (.96, .99, .997), shapes, PLACES)
    cells = [Cell(photos, best, *shape, place) for photos, best, shape, place in settings]
    bursts = [Cell(500, .96, 2, 1, place, burst=5) for place in PLACES]
    return [*cells, *bursts, Cell(500, .96, 30, 1, 'equal'), Cell(500, .96, 100, 1, 'equal')]


def main():
    from measure import machine
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, metavar='FILE', help='write a machine-readable record')
    parser.add_argument('--times', type=int, default=300, help='comparisons a cell')
    parser.add_argument('--part', default='0/1', help='measure every n-th cell only, such as 0/2 and 1/2 on two cores')
    parser.add_argument('--small', action='store_true', help='seven cells instead of the grid')
    args = parser.parse_args()
    part, parts = map(int, args.part.split('/'))
    start, cells = time.perf_counter(), grid(not args.small)[part::parts]
    agree = same_by_folders(cells[0])
    rows = []
    for cell in cells:
        rows.append(measure(cell, args.times))
        print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}), flush=True)
    record = dict(machine=machine(), times=args.times, seconds=time.perf_counter()-start, same_by_folders=agree, cells=rows)
    if args.json: args.json.write_text(json.dumps(record, indent=1)+'\n')


if __name__ == '__main__': main()
