"""What compare and choose state is true as often as they say, on simulated networks of known truth."""
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT/'benchmarks'))
from honesty import Cell, measure, same_by_folders   # noqa: E402


CELLS = {'just beyond the margin': Cell(150, .97, 2, 1, 'beyond'), 'two seeds': Cell(300, .96, 3, 2, 'spread')}


@pytest.mark.parametrize('cell', CELLS.values(), ids=CELLS)
def test_it_keeps_its_word(cell):
    "60 comparisons: at most 5% wrong, and 95% held, each within two and a half Monte Carlo errors"
    found, error = measure(cell, 60), 2.5*(.05*.95/60)**.5
    assert max(found[name] for name in ('wrong', 'shown_wrong', 'default_wrong', 'default_shown_wrong')) <= .05+error
    assert min(found[name] for name in ('accuracy', 'pair', 'all_pairs', 'best_held')) >= .95-error
    assert abs(found['expected_off']) < abs(found['flattered'])+.004


def test_folders_say_what_memory_says():
    "The simulation goes through the same comparison as run folders do, near-copies too"
    assert same_by_folders(Cell(90, .9, 2, 2, 'spread')) and same_by_folders(Cell(90, .9, 2, 1, 'equal', burst=3))
