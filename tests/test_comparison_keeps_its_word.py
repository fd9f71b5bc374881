"""What compare and choose state is true as often as they say, on simulated networks of known truth."""
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT/'benchmarks'))
from honesty import Cell, measure, same_by_folders, simulate   # noqa: E402

from catdog.comparison.choose import behind_best   # noqa: E402


CELLS = {'just beyond the margin': Cell(150, .97, 2, 1, 'beyond', shift=0.), 'three seeds': Cell(300, .96, 3, 3, 'beyond', shift=.1)}


@pytest.mark.parametrize('cell', CELLS.values(), ids=CELLS)
def test_it_keeps_its_word(cell):
    "60 comparisons: at most 5% wrong, and 95% held, each within two and a half Monte Carlo errors"
    found, error = measure(cell, 60), 2.5*(.05*.95/60)**.5
    wrong = [found[f'{margin}{name}'] for margin in ('', 'default_') for name in ('wrong', 'shown_wrong', 'anew_wrong')]
    assert max(wrong) <= .05+error
    assert min(found[name] for name in ('accuracy', 'pair', 'all_pairs', 'best_held')) >= .95-error
    assert abs(found['expected_off']) < abs(found['flattered'])+.004


def test_folders_say_what_memory_says():
    "The simulation goes through the same comparison as run folders do, near-copies too"
    assert same_by_folders(Cell(90, .9, 2, 2, 'spread')) and same_by_folders(Cell(90, .9, 2, 1, 'equal', burst=3))
    assert same_by_folders(Cell(90, .9, 2, 1, 'spread', folds=3))


def seen_with(cell, seeds, times):
    "How far behind the first network may be, and how often that is less than the margin; the same photos and networks for any seeds"
    comparisons = [simulate(replace(cell, seeds=seeds), run)[0] for run in range(times)]
    high = np.array([behind_best(c, cell.delta/100).high[c.rows.latency_ms.idxmin()] for c in comparisons])
    return high.mean(), (high <= cell.delta/100).mean()


def test_more_seeds_never_tell_less():
    "Of two equal networks with seeds that differ a lot, paired: the bound falls with each seed, and the margin is shown more often"
    bounds, shown = zip(*[seen_with(Cell(500, .97, 2, 1, 'equal', shift=.1), seeds, 30) for seeds in (1, 2, 3, 5)])
    assert list(bounds) == sorted(bounds, reverse=True), bounds
    assert min(shown[1:]) >= shown[0] and shown[-1] > shown[0], shown
