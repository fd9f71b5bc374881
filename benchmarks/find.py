"""Does `catdog find` answer rightly, and for how much less? Races over simulated networks of known truth, and over real ones.

The networks are those of the honesty benchmark: every photo has a difficulty, a network meets it in its own way, a training again in
its own, and a training shifts its network as a whole. Beside each stands its head on frozen features, whose errors fine-tuning
multiplies by a number that differs from network to network and from cell to cell, well beyond what the race expects before it begins."""
import argparse
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from catdog.comparison.statistics import difference_bound, mcnemar_p_value
from catdog.finding.disagree import judge_labels, random_order
from catdog.finding.race import Evidence, pair_table, run_race, spent_seconds, whole_grid
from honesty import SHARES

FOLDS = 5
SEED = 20_261             # Of races on which no rule was tuned
LIFTS = dict(usual=(.5, .35), little=(.9, .2), much=(.2, .35), uneven=(.5, .8))     # tuned errors over the head's: middle, spread (log)


@dataclass(frozen=True)
class Cell:
    "A setting that is simulated many times"
    photos:int
    networks:int
    place:str                # 'spread', 'equal', 'beyond', 'rival' or 'between'
    order:str = 'shuffled'   # Whether dearer networks are better ('sorted'), or cost and accuracy have nothing to do with each other
    lift:str = 'usual'       # One of `LIFTS`
    shift:float = .1         # Of skill by another training, in the unit of the photos' difficulty
    best:float = .995
    worst:float = .96
    delta:float = .01
    share:float = 1/3        # Of the whole grid's seconds that may be spent

    def rng(self, run):
        return np.random.default_rng((SEED, run, self.photos, self.networks, *map(ord, self.place+self.order+self.lift)))


def place_networks(cell, rng):
    "True accuracies, the network that is cheapest to use first"
    if cell.place == 'equal': return np.full(cell.networks, cell.best)
    edge, far = cell.best-cell.delta, np.full(cell.networks, cell.best-.03)
    if cell.place == 'beyond': return np.r_[edge-.0005, np.full(cell.networks-1, cell.best)]
    if cell.place == 'rival': return np.r_[edge-.0005, cell.best, far[2:]]                 # only one pair can say that the cheapest is not
    if cell.place == 'between': return np.r_[edge-.0005, edge+.0005, cell.best, far[3:]]   # and two ways to be wrong
    found = np.r_[cell.best, rng.uniform(cell.worst, cell.best, cell.networks-1)]
    return np.sort(found) if cell.order == 'sorted' else rng.permutation(found)


def draw_race(cell, run):
    "All that could be known, in columns by network: answers of the trained networks and of the heads; and the true accuracies"
    rng = cell.rng(run)
    truth = place_networks(cell, rng)
    names = [f'net{i:02}' for i in range(cell.networks)]
    middle, spread = LIFTS[cell.lift]
    of_heads = 1-np.minimum((1-truth)/(middle*np.exp(rng.normal(0, spread, cell.networks))), .5)
    fold = rng.permutation(np.arange(cell.photos)%FOLDS)
    photo = rng.normal(0, SHARES['photo']**.5, (cell.photos, 1))
    network = rng.normal(0, SHARES['network']**.5, (cell.photos, cell.networks))
    moved = rng.normal(0, cell.shift, (FOLDS, cell.networks))[fold]
    def answers(skill): return (skill+photo+network+rng.normal(0, SHARES['seed']**.5, network.shape) > 0).astype(float)
    tuned = pd.DataFrame(answers(norm.ppf(truth)*np.sqrt(1+cell.shift**2)+moved), columns=names)
    heads = pd.DataFrame(answers(norm.ppf(of_heads)), columns=names)
    seconds = pd.Series(np.geomspace(10, 200, cell.networks), names)
    return Evidence(tuned*np.nan, heads, fold, np.arange(cell.photos), seconds), tuned, pd.Series(truth, names)


def reveal(tuned):
    "A training, as a race asks for it"
    def train(evidence, name, number):
        known = evidence.tuned.copy()
        known.loc[evidence.fold == number, name] = tuned.loc[evidence.fold == number, name]
        return replace(evidence, tuned=known)
    return train


def full_answer(evidence, tuned, delta, share=.05):
    "What the whole grid says at one look: the cheapest that is good enough, all cheaper ones being worse; None where that is open"
    pairs, names = pair_table(replace(evidence, tuned=tuned, kept={})), evidence.names
    high, low = difference_bound(pairs, share), difference_bound(pairs, share/(len(names)-1), False)
    high_turned, low_turned = difference_bound(pairs, share/(len(names)-1)), difference_bound(pairs, share, False)
    most, least = {name: -1. for name in names}, {name: -1. for name in names}
    for i, (first, second) in enumerate(zip(pairs['first'], pairs['second'])):
        most[second], least[second] = max(most[second], high[i]), max(least[second], low[i])
        most[first], least[first] = max(most[first], -low_turned[i]), max(least[first], -high_turned[i])
    left = [name for name in names if least[name] <= delta]
    return left[0] if left and most[left[0]] <= delta else None


def race(cell, run):
    "One race, held against the truth and the whole grid"
    evidence, tuned, truth = draw_race(cell, run)
    good = truth >= truth.max()-cell.delta
    right = good.idxmax()
    known, step, dropped = run_race(evidence, reveal(tuned), cell.delta, cell.share)
    decided, whole = step.answer is not None and not step.open, full_answer(evidence, tuned, cell.delta)
    return dict(spent=spent_seconds(known)/whole_grid(known), decided=decided, wrong=decided and step.answer != right,
        shown=step.answer is not None, shown_wrong=step.answer is not None and not good[step.answer],
        full_decided=whole is not None, full_wrong=whole is not None and whole != right, dropped=len(dropped))


def measure(cell, times):
    "Means over many races of one cell, and the median of what was spent"
    start, found = time.perf_counter(), pd.DataFrame([race(cell, run) for run in range(times)])
    return {**asdict(cell), 'times': times, **found.astype(float).mean().to_dict(), 'spent_median': float(found.spent.median()),
        'spent_most': float(found.spent.max()), 'seconds': time.perf_counter()-start}


def grid():
    "The cells that are measured"
    shapes = [(2500, 7), (1000, 7), (2500, 12)]
    cells = [Cell(*shape, place, order) for shape in shapes for place, order in
        (('spread', 'shuffled'), ('spread', 'sorted'), ('equal', 'shuffled'), ('beyond', 'shuffled'))]
    other = [Cell(2500, 7, 'spread', 'shuffled', lift) for lift in ('little', 'much', 'uneven')]
    edges = [Cell(2500, 7, place, 'shuffled', lift) for place in ('equal', 'beyond') for lift in ('much', 'uneven')]
    hardest = [Cell(2500, 7, place, share=share) for place in ('rival', 'between') for share in (1/3, 1)]
    moved = [Cell(2500, 7, place, shift=.2) for place in ('spread', 'beyond', 'rival')]
    return [*cells, *other, *edges, *hardest, *moved]


CLASSES = np.array(['cat', 'dog'])


@dataclass(frozen=True)
class Pool:
    "Photos without labels, and what is asked of them"
    accuracies:tuple         # True ones, the network that is cheapest to use first
    photos:int = 10_000
    delta:float = .01        # 0 asks which is better
    tested:int = 500         # Labelled photos that would be had otherwise

    @property
    def share(self): return .05 if self.delta else .025      # which is better is asked on both sides


def draw_answers(pool, photos, rng):
    "What each network takes each photo for, and what it is"
    shape = (photos, len(pool.accuracies))
    own = (SHARES['network']+SHARES['seed'])**.5
    right = norm.ppf(pool.accuracies)+rng.normal(0, SHARES['photo']**.5, (photos, 1))+rng.normal(0, own, shape) > 0
    true = rng.integers(0, 2, photos)
    return CLASSES[np.where(right, true[:, None], 1-true[:, None])], CLASSES[true], right


def ask_labels(pool, run, order):
    "One pool, labelled batch by batch until it is known which network to take; beside it, labelled photos tested as usual"
    rng = np.random.default_rng((run, pool.photos, *(int(1e4*accuracy) for accuracy in pool.accuracies)))
    guesses, true, _ = draw_answers(pool, pool.photos, rng)
    guesses, truth = pd.DataFrame(guesses, order, [f'net{i}' for i in range(len(pool.accuracies))]), pd.Series(true, order)
    labels = pd.Series(dtype=object)
    while (standing := judge_labels(guesses, labels, pool.delta, pool.share)).ask: labels = pd.concat([labels, truth[list(standing.ask)]])
    good = np.array(pool.accuracies) >= max(pool.accuracies)-pool.delta-1e-12
    *_, tested = draw_answers(pool, pool.tested, rng)
    wins, losses = (int((tested[:, a] & ~tested[:, b]).sum()) for a, b in ((0, -1), (-1, 0)))
    shown = standing.answer is not None
    return dict(decided=standing.decided, wrong=standing.decided and standing.answer != f'net{good.argmax()}',
        shown=shown, shown_wrong=shown and not good[int(standing.answer.removeprefix('net'))],
        labels=standing.used, differ=standing.differ, by_labelled=bool(mcnemar_p_value(wins, losses) < .05))


def measure_pool(pool, times):
    "Means over many pools"
    start, order = time.perf_counter(), random_order(f'{i:064x}' for i in range(pool.photos))
    found = pd.DataFrame([ask_labels(pool, run, order) for run in range(times)]).astype(float)
    return {**asdict(pool), 'times': times, **found.mean().to_dict(), 'labels_most': float(found.labels.max()),
        'seconds': time.perf_counter()-start}


def pools():
    "What is asked of pools: which of two is better; then the cheapest within a point, where it is just not, just so, or plainly"
    better = [Pool((.97, .98), delta=0.), Pool((.985, .99), delta=0.)]
    edges = [Pool((.9795, .99)), Pool((.98, .99)), Pool((.9795, .99), 1000), Pool((.99, .99)), Pool((.97, .99))]
    several = [Pool((.9795, .99, .99, .99, .99), 5000), Pool((.96, .975, .985, .99, .992), 5000), Pool((.9895, .99, .9905), 5000)]
    return [*better, *edges, *several]


MANY = """resnet18 resnet26 resnet50 resnext50_32x4d seresnet50 regnety_002 regnetx_002 mobilenetv2_050 mobilenetv3_small_050
mobilenetv4_conv_small efficientnet_b0 tf_efficientnet_lite0 mnasnet_small ghostnet_100 lcnet_050 convnext_atto convnextv2_atto
edgenext_xx_small mobilevit_xxs vit_tiny_patch16_224 deit_tiny_patch16_224 levit_128s fastvit_t8 repvit_m0_9 starnet_s1
densenet121 dla34 vgg11_bn hrnet_w18_small inception_v3""".split()


def hold_back(photos, folder, number):
    "A list of the photos without some of the validation's, which lie in a folder without their labels; and those labels, by path"
    from catdog.photos.audit import audit_photos
    from catdog.photos.sources import find_photos
    found = find_photos(photos).reset_index(drop=True)
    found['path'] = [str(Path(path).resolve()) for path in found.path]
    held = found[found.split == 'valid'].sample(number, random_state=SEED)
    pool, listed = Path(folder)/'unlabelled', Path(folder)/'photos.csv'
    pool.mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(held.path): (pool/f'{i:03}{Path(path).suffix}').symlink_to(path)
    found.drop(held.index)[['path', 'label']].to_csv(listed, index=False)
    hashes = audit_photos(held[['path']]).sha256
    return listed, pool, dict(zip(hashes, held.label))


def answer_all(labelling, truth):
    "Give each label that is asked for until none is, and say what came of it"
    from catdog.photos.review import add_verdict
    while asked := labelling.standing.ask:
        for sha256 in asked: add_verdict(labelling.file, sha256, 'keep', given=truth[sha256])
    standing = labelling.standing
    return dict(labels=standing.used, differ=standing.differ, unlabelled=len(labelling.guesses), chosen=standing.answer,
        decided=standing.decided, said=labelling.reason)


def sweep_all(config, heads):
    "Every candidate on every fold; seconds"
    from catdog.finding.find import config_of
    from catdog.finding.trainings import known_costs, train_run
    start = time.perf_counter()
    for arch, head in heads.items():
        first = train_run(config_of(config, arch, 0, head.pretrained))
        for fold in range(1, config.folds): train_run(config_of(config, arch, fold, head.pretrained), known=known_costs(first))
    return time.perf_counter()-start


def measure_real(photos, archs, runs, pool=None, **settings):
    "Every candidate on every fold, and the same question asked of `find`, each with a cache of its own; the seconds and the answer of both"
    from catdog.door import compare
    from catdog.comparison.choose import choose
    from catdog.finding.find import best_guess, export_answer, found_of, make_find_config, run_trainings, start_race
    from catdog.finding.unlabelled import label_networks
    runs = Path(runs).resolve()
    data, unlabelled, truth = hold_back(photos, runs, pool) if pool else (photos, None, {})
    asked = dict(data=str(data), candidates=','.join(archs), **settings)
    os.environ['CATDOG_CACHE'], start = str(runs/'cache-find'), time.perf_counter()
    race = start_race(make_find_config(**asked, runs=f'{runs}/found'))
    step = run_trainings(race)
    export_answer(race, step)
    found = found_of(race, step)
    find_seconds = time.perf_counter()-start
    labelled = {}
    if unlabelled:
        trained = {name: run.folder for (name, fold), run in race.runs.items() if fold == 0}
        networks = found.networks if len(found.networks) > 1 else trained      # the race as it was, where it has decided already
        labelled = answer_all(label_networks(networks, unlabelled, runs/'labels.csv', .01), truth)
    os.environ['CATDOG_CACHE'] = str(runs/'cache-all')
    all_seconds = sweep_all(make_find_config(**asked, runs=f'{runs}/all'), race.field.heads)
    choice = choose(compare(f'{runs}/all'), delta=1.)
    settings['weights'] = Path(settings['weights']).name      # a record names no machine's folders
    return dict(photos=Path(photos).name, archs=archs, **settings, all_seconds=all_seconds, find_seconds=find_seconds,
        all_chosen=choice.chosen, all_decided=choice.decided, all_said=choice.reason,
        all_open=[found['setup'] for found in choice.candidates if found['verdict'] != 'worse'],
        chosen=found.answer or best_guess(race), shown=found.answer is not None, decided=found.decided, said=found.reason,
        trainings=len(race.runs), labelled=labelled)


def measure_many(photos, size=128):
    "Costs and the free round of thirty networks with random weights: what goes through, and what is left out with a reason"
    from catdog.finding.find import make_find_config, start_race
    start, race = time.perf_counter(), start_race(make_find_config(data=photos, candidates=','.join(MANY), weights='none', image_size=size))
    return dict(names=len(MANY), through=len(race.field.costs), left_out=race.field.left_out, seconds=time.perf_counter()-start)


def measure_kept(work, cell, times, keep):
    "A cell, unless it was finished before: each finished one is a line of a file"
    asked = {**asdict(cell), 'times': times}
    lines = keep.read_text().splitlines() if keep and keep.exists() else []
    for row in map(json.loads, lines):
        if all(row.get(name) == (list(value) if isinstance(value, tuple) else value) for name, value in asked.items()): return row
    found = work(cell, times)
    if keep:
        with open(keep, 'a') as file: file.write(json.dumps(found)+'\n')
    return found


def main():
    from measure import machine
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, metavar='FILE', help='write a machine-readable record')
    parser.add_argument('--times', type=int, default=200, help='races a cell')
    parser.add_argument('--keep', type=Path, metavar='FILE', help='finished cells, a line each: the same command goes on after them')
    parser.add_argument('--unlabelled', action='store_true', help='photos without labels instead: what is decided by how many labels')
    parser.add_argument('--photos', help='photos to race over instead: every candidate on every fold, then find, both timed')
    parser.add_argument('--weights', default='auto', help='pretrained weights, as for catdog train')
    lite = [f'tf_efficientnet_lite{i}' for i in range(3)]
    parser.add_argument('--archs', default=','.join(['baseline', *lite]), help='with --photos')
    parser.add_argument('--size', type=int, default=128, help='side of the pictures, with --photos')
    parser.add_argument('--epochs', type=int, help='with --photos; the recipe\'s where it is left out')
    parser.add_argument('--scratch-epochs', type=int, help='the same for a network without weights')
    parser.add_argument('--pool', type=int, metavar='N', help='with --photos: take N of the validation photos for unlabelled ones')
    parser.add_argument('--runs', default='find-runs', help='folder of the runs, with --photos')
    parser.add_argument('--many', metavar='PHOTOS', help='costs and heads of thirty networks with random weights instead')
    args = parser.parse_args()
    if args.photos or args.many:
        real = dict(machine=machine(), **(measure_many(args.many) if args.many else
            measure_real(args.photos, args.archs.split(','), args.runs, args.pool, weights=args.weights, image_size=args.size,
                epochs=args.epochs, scratch_epochs=args.scratch_epochs)))
        print(json.dumps(real, indent=1))
        if args.json: args.json.write_text(json.dumps(real, indent=1)+'\n')
        return
    cells, work = (pools(), measure_pool) if args.unlabelled else (grid(), measure)
    rows = []
    for cell in cells:
        rows.append(measure_kept(work, cell, args.times, args.keep))
        print(json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in rows[-1].items()}), flush=True)
    record = dict(machine=machine(), times=args.times, seconds=sum(row['seconds'] for row in rows), cells=rows)
    if args.json: args.json.write_text(json.dumps(record, indent=1)+'\n')


if __name__ == '__main__': main()
