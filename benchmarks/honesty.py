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
PLACES = ('beyond', 'within', 'equal', 'spread')  # where the true accuracies lie, see `place_networks`


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
    folds:int = 0            # Runs of a setup that share the photos out among them, in place of seeds; 0 has none
    shift:float = .05        # Standard deviation of a run's skill (its seed, its training photos), in units of the photos' difficulty

    @property
    def runs(self): return self.folds or self.seeds

    def rng(self, run, *more):
        "Random numbers that cells of fewer and more seeds share"
        shape = (self.photos, int(1e4*self.best), self.networks, self.burst, self.folds)
        return np.random.default_rng((run, PLACES.index(self.place), *shape, *more))


def place_networks(cell, rng):
    "True accuracies, cheapest network first"
    if cell.place == 'equal': return np.full(cell.networks, cell.best)
    if cell.place == 'spread': return np.sort(cell.best-rng.uniform(0, 3*cell.delta/100, cell.networks))
    off = .0005 if cell.place == 'beyond' else -.0005       # of the margin: half a tenth of a point beyond, or within
    return np.r_[cell.best-cell.delta/100-off, np.full(cell.networks-1, cell.best)]


def draw_answers(cell, accuracies, rng, run):
    "bool (photos, networks, runs): right or not; and the true accuracy of each run, (networks, runs)"
    scenes, networks = -(-cell.photos//cell.burst), cell.networks
    ease = rng.normal(0, SHARES['photo']**.5, (scenes, 1))+rng.normal(0, SHARES['network']**.5, (scenes, networks))
    base = norm.ppf(accuracies)*np.sqrt(1+cell.shift**2)
    shared = rng.normal(0, cell.shift*.5**.5, networks) if cell.folds else 0.       # folds share most of their training photos
    right, skills = [], []
    for number in range(cell.runs):
        own = cell.rng(run, 1000+number)
        skills.append(base+shared+own.normal(0, cell.shift*(.5**.5 if cell.folds else 1), networks))
        right.append(skills[-1]+ease+own.normal(0, SHARES['seed']**.5, (scenes, networks)) > 0)
    answers = np.repeat(np.stack(right, 2), cell.burst, axis=0)[:cell.photos]
    return answers, norm.cdf(np.stack(skills, 1))


def names_of(cell): return [f'net{i:02}' for i in range(cell.networks)]


def tested_by(cell, number):
    "bool (photos,): which photos a run tests; all of them where there are no folds"
    return np.arange(cell.photos)//cell.burst % cell.folds == number if cell.folds else np.full(cell.photos, True)


def as_record(cell, network, number):
    "What run.json says of a simulated run; cost grows with the network's number"
    name, cost = names_of(cell)[network], float(network+1)
    config = dict(arch=name, data='simulated', seed=0 if cell.folds else number, image_size=96)
    if cell.folds: config.update(folds=cell.folds, fold=number)
    pool = 'simulated' if cell.folds else ''
    return dict(name=f'{name}-{number}', status='finished', config=config,
        resolved=dict(recipe='full', epochs=4, lr=1e-3, augmentation='light'), weights=dict(used='none', source=''),
        hardware=dict(cpu='none', cores=2, gpus=[]), versions={'catdog-timm': 'simulated'}, timings=dict(train_seconds=cost),
        catalogue=dict(id='simulated', pool=pool, classes=['cat', 'dog'], photos={'train/cat': 400, 'train/dog': 400}),
        cost=dict(parameters=1000, macs=1000, latency_ms=cost, latency_p95_ms=cost, images_per_second=1., peak_memory_mb=1., file_mb=cost))


def write_runs(folder, cell, right):
    "The runs as folders, as a training leaves them"
    label = np.where(np.arange(cell.photos) % 2, 'dog', 'cat')
    sha256, group = ([f'{i//of:064x}' for i in range(cell.photos)] for of in (1, cell.burst))
    photos = pd.DataFrame(dict(sha256=sha256, label=label, group=group))
    for network, number in product(range(cell.networks), range(cell.runs)):
        record = as_record(cell, network, number)
        p_cat = np.where(right[:, network, number] == (label == 'cat'), .9, .1)
        table = photos.assign(p_cat=p_cat, p_dog=1-p_cat)[tested_by(cell, number)]
        run = Path(folder)/record['name']
        run.mkdir(parents=True)
        table.to_parquet(run/'predictions.parquet', index=False)
        (run/'run.json').write_text(json.dumps({**record, 'metrics': quality(table)}))


def as_tables(cell, right):
    "The same in memory: what `read_runs` and `tested_runs` would read"
    runs = list(product(range(cell.networks), range(cell.runs)))
    numbers = [number for _, number in runs]
    names, setup = [f'{names_of(cell)[n]}-{s}' for n, s in runs], [names_of(cell)[n] for n, _ in runs]
    cost, seeds = [float(n+1) for n, _ in runs], [0]*len(runs) if cell.folds else numbers
    known = np.stack([tested_by(cell, number) for number in numbers], 1)
    correct = np.where(known, right.reshape(cell.photos, -1), np.nan)
    accuracy = np.nanmean(correct, axis=0)
    table = pd.DataFrame({c: None for c in COLUMNS}, index=range(len(runs)))
    table = table.assign(name=names, setup=setup, arch=setup, weights='none', recipe='full', image_size=96, seed=seeds)
    if cell.folds: table = table.assign(folds=cell.folds, fold=numbers)
    table = table.assign(data='simulated', train_photos=800, subset=0, reviewed=False, accuracy=accuracy, log_loss=1-accuracy)
    table = table.assign(latency_ms=cost, file_mb=cost, macs=1e3, train_seconds=cost, photos=known.sum(0))
    table = table.assign(machine='none', version='simulated', settings='{}', folder=names)
    group = pd.Series(np.arange(cell.photos)//cell.burst) if cell.burst > 1 else None
    overlap = 1/(cell.folds-1) if cell.folds else 0.
    return table, Tested(pd.DataFrame(correct, columns=names), pd.Series(setup, names), pd.Series(numbers, names), group, overlap=overlap)


@dataclass(frozen=True)
class Truth:
    "What is true of each setup"
    setups:pd.Series         # Accuracy of networks of that setup; with one seed of the one network there is
    trained:pd.Series        # Mean accuracy of the networks that were trained; with folds as `setups`, since no one of them is spoken of


def simulate(cell, run, through_folders=False)->tuple[Comparison, Truth]:
    "One comparison, and what is true"
    rng = cell.rng(run)
    accuracies = place_networks(cell, rng)
    right, of_runs = draw_answers(cell, accuracies, rng, run)
    setups, trained = (pd.Series(values, names_of(cell)) for values in (accuracies, of_runs.mean(1)))
    if cell.runs == 1: setups = trained
    truth = Truth(setups, setups if cell.folds else trained)
    if not through_folders:
        table, tested = as_tables(cell, right)
        return compare_runs(table, tested=tested), truth
    with tempfile.TemporaryDirectory() as folder:
        write_runs(folder, cell, right)
        return compare_runs(*read_runs(folder)), truth


def judge_choice(comparison, truth, delta):
    "What a choice says of itself, held against the truth; `power` is whether the cheapest that is good enough was found and shown"
    choice = choose(comparison, delta=delta)
    good = truth.trained >= truth.trained.max()-choice.delta
    good_anew = truth.setups >= truth.setups.max()-choice.delta
    right = comparison.rows.latency_ms[good].idxmin()
    return dict(decided=choice.decided, wrong=choice.decided and choice.chosen != right, power=choice.decided and choice.chosen == right,
        shown=choice.shown, shown_wrong=choice.shown and not good[choice.chosen],
        anew=bool(choice.anew), anew_wrong=bool(choice.anew) and not good_anew[choice.chosen])


def judge(comparison, truth, delta):
    "Everything that is stated, held against the truth"
    rows, pairs, best, true = comparison.rows, comparison.pairs, comparison.expected, truth.setups
    own = true[rows.index]
    apart = true[pairs['first']].to_numpy()-true[pairs['second']].to_numpy()
    low, high, low_all, high_all = pairs[['low', 'high', 'low_all', 'high_all']].to_numpy().T
    equal = np.abs(apart) < 1e-12
    told = dict(accuracy=((rows.accuracy_low <= own) & (own <= rows.accuracy_high)).mean(),
        pair=((low <= apart) & (apart <= high)).mean(), all_pairs=bool(((low_all <= apart) & (apart <= high_all)).all()),
        best_held=best['low'] <= true[best['setup']] <= best['high'],
        best_alone=rows.accuracy_low.iloc[0] <= own.iloc[0] <= rows.accuracy_high.iloc[0],
        flattered=best['accuracy']-true[best['setup']], expected_off=best['expected']-true[best['setup']],
        alarm=bool((pairs.p_holm[equal] < .05).any()), alarm_each=(pairs.p_value[equal] < .05).mean())
    by_default = {f'default_{name}': value for name, value in judge_choice(comparison, truth, None).items()}
    return {**told, **judge_choice(comparison, truth, delta), **by_default}


def measure(cell, times, start=0):
    "Means over many comparisons of one cell, the numbers start to start+times; a mean over those that have the value"
    found = pd.DataFrame([judge(*simulate(cell, run), cell.delta) for run in range(start, start+times)]).astype(float)
    means = {name: None if np.isnan(value) else float(value) for name, value in found.mean().items()}
    return {**asdict(cell), 'times': times, **means}


def same_by_folders(cell):
    "Whether the comparison in memory is the one that is read from run folders"
    memory, folders = simulate(cell, 0)[0], simulate(cell, 0, through_folders=True)[0]
    columns = ['difference', 'low', 'high', 'p_value', 'low_all', 'high_all']
    order = ['first', 'second']
    ours, theirs = (c.pairs.set_index(order).sort_index()[columns] for c in (memory, folders))
    return bool(np.allclose(ours, theirs)) and choose(memory).to_dict()['chosen'] == choose(folders).to_dict()['chosen']


def cells_of(photos, best, shapes, places, **more):
    "Every combination; a shape is (networks, seeds)"
    return [Cell(*two, *shape, place, **more) for two, shape, place in product(product(photos, best), shapes, places)]


SETTINGS = ((500, .97), (500, .99), (2500, .98))     # test photos and accuracy at which the seeds are compared

def grid():
    "The cells that are measured"
    cells = cells_of((150, 500, 2500), (.96, .98, .99, .997), [(2, 1), (6, 1), (3, 3)], ['beyond'], shift=0.)
    cells += cells_of((500, 2500), (.96, .99), [(2, 1), (3, 3)], ['within'], shift=0.)
    for photos, best in SETTINGS: cells += cells_of([photos], [best], product((2, 6), (1, 2, 3, 5)), ['equal'])
    cells += cells_of((500, 2500), (.96, .995), [(12, 1), (3, 2), (6, 3), (4, 5)], ['spread'])
    cells += cells_of([500], [.98], [(2, 2), (3, 3), (6, 5)], ['beyond'])
    cells += cells_of((500, 2500), [.98], [(2, 2), (3, 3)], ['beyond', 'equal'], shift=.1)
    cells += cells_of([500], [.96], [(2, 1)], ['beyond', 'equal', 'spread'], burst=5) + [Cell(500, .97, 4, 3, 'spread', burst=5)]
    cells += cells_of((500, 2500), [.98], [(2, 1), (6, 1)], ['beyond', 'equal'], folds=5)
    return cells + cells_of([500], [.96], [(12, 1), (30, 1), (30, 2), (100, 1)], ['equal'])


def key_of(row): return tuple(row[name] for name in Cell.__dataclass_fields__)


def pool(parts):
    "Means of parts of one cell, weighted by how many comparisons each has"
    times = [part['times'] for part in parts]
    pooled = {**parts[0], 'times': sum(times)}
    for name, first in parts[0].items():
        if name not in (*Cell.__dataclass_fields__, 'times') and first is not None:
            pooled[name] = float(np.average([part[name] for part in parts], weights=times))
    return pooled


def go_on(cells, times, each, kept):
    "Measure all cells in rounds of `each` comparisons, until every one has `times`; what is done is kept in a file, line by line"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for start in range(0, times, each):
        measured = {key_of(row) for row in done if row['start'] == start}
        for cell in (cell for cell in cells if key_of(asdict(cell)) not in measured):
            done.append({**measure(cell, each, start), 'start': start})
            with kept.open('a') as file: file.write(json.dumps(done[-1])+'\n')
    return done


def make_record(done, seconds):
    "A row a cell, with the Monte Carlo error of a share of 5%"
    from measure import machine
    parts = {}
    for row in done: parts.setdefault(key_of(row), []).append({name: value for name, value in row.items() if name != 'start'})
    rows = [pool(part) for part in parts.values()]
    for row in rows: row['error_of_5_percent'] = (.05*.95/row['times'])**.5
    agree = all(same_by_folders(cell) for cell in (Cell(90, .9, 2, 2, 'spread'), Cell(90, .9, 2, 1, 'equal', folds=3)))
    return dict(machine=machine(), seconds=seconds, same_by_folders=agree, cells=rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, metavar='FILE', help='write a machine-readable record')
    parser.add_argument('--times', type=int, default=400, help='comparisons a cell')
    parser.add_argument('--each', type=int, default=50, help='comparisons of a cell before the next cell has its turn')
    parser.add_argument('--kept', type=Path, default=Path('honesty.jsonl'), help='where what is done is kept, to go on from there')
    args = parser.parse_args()
    start = time.perf_counter()
    done = go_on(grid(), args.times, args.each, args.kept)
    record = make_record(done, time.perf_counter()-start)
    for row in record['cells']: print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}))
    if args.json: args.json.write_text(json.dumps(record, indent=1)+'\n')


if __name__ == '__main__': main()
