"""Code reads: short lines, few definitions a cell, no import without a use."""
import json
import re
import warnings

import pytest
from conftest import BIN, ROOT, run

RULES = ('line-too-long', 'too-many-defs', 'long-exported-cell', 'unused-import')
LONGEST = 140    # columns of a line of code, its strings counted
KINDS = ('nbs/*.ipynb', 'tests/*.py', 'benchmarks/*.py')
FILES = sorted(path.relative_to(ROOT).as_posix() for kind in KINDS for path in ROOT.glob(kind))


@pytest.fixture(scope='session')
def findings():
    "What chkstyle says of each file, by its rules that hold here"
    done = run(BIN/'chkstyle', '--show-rule', 'nbs', 'tests', 'benchmarks', cwd=ROOT)
    assert 'violation' in done.stdout+done.stderr or done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(rf"# ([^:]+):(.*\[({'|'.join(RULES)})\].*)", line)
        if match: found.setdefault(match[1], []).append(match[2])
    return found


@pytest.mark.parametrize('name', FILES)
def test_style(name, findings):
    assert not findings.get(name), '\n'.join(findings[name])
    wide = [f'{place}: {line}' for place, line in read_code(ROOT/name) if len(line) > LONGEST]
    assert not wide, f'over {LONGEST} columns:\n'+'\n'.join(wide)


def read_code(path):
    "Each line of code of a program or notebook, with where it stands"
    if path.suffix == '.py': return list(enumerate(path.read_text().splitlines(), 1))
    cells = [cell for cell in json.loads(path.read_text())['cells'] if cell['cell_type'] == 'code']
    return [(f'{cell["id"]}:{i}', line) for cell in cells for i, line in enumerate(''.join(cell['source']).splitlines(), 1)]


@pytest.mark.parametrize('place', ['catdog', 'benchmarks', 'scripts', 'tests'])
def test_python_has_nothing_to_say_of_it(place):
    "Such as an escape in a string that is none, which newer versions say aloud to whoever imports it"
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for path in (ROOT/place).rglob('*.py'): compile(path.read_text(), str(path), 'exec')
