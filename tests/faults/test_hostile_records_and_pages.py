"Script, markup and formulas in every text of a record, a label and a file's name: no page and no notebook takes them for its own."
import copy
import json
import re
import shutil
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pandas as pd
import pytest
from conftest import BIN, run
from pydantic import BaseModel

from catdog.training.config import RunConfig
from catdog.training.run import RunRecord

HOSTILE = '</script><script>window.hit = 1</script><img src=x onerror="window.hit = 2">[a](javascript:hit) ```\n#\n $x^2$ | \'"& {{ 7*7 }}'
NAMES = [' '.join(HOSTILE.replace('/', '').split()), '<img src=x onerror="window.hit = 3">',
         '| a | `b` | $c$', '**bold** _it_', '# heading']
# Without these a run is left out, or is one of other photos
NEEDED = [('status',), ('files',), ('catalogue', 'classes'), ('config', 'data')]


def spoil(value, path=()):
    "The same value with a hostile ending to each text and each name in it, but for those of `NEEDED`"
    if path in NEEDED: return value
    if isinstance(value, str): return value+HOSTILE
    if isinstance(value, list): return [spoil(one, (*path, i)) for i, one in enumerate(value)]
    if not isinstance(value, dict): return value
    named = path and path[0] not in ('config', 'resolved') and all(isinstance(one, dict) for one in value.values())
    return {key+HOSTILE if named else key: spoil(one, (*path, key)) for key, one in value.items()}


def count_texts(value):
    if isinstance(value, dict): return sum(map(count_texts, value.values()))
    return sum(map(count_texts, value)) if isinstance(value, list) else isinstance(value, str)


MORE = dict(  # What a record may hold besides
    also={'zoo': dict(photos=50, accuracy=.8, accuracy_low=.7, accuracy_high=.9, source='zoo', classes=['cat', 'dog'], said=['no fox'])},
    robustness=[dict(kind='blur', severity=1, photos=100, accuracy=.8)],
    scaling=[dict(what='batch_size', value=8, images_per_second=90., device='cpu')], note='by hand', folds=dict(said=['five']))


def a_text(kind):
    "What a field of a record may hold, with a text in it; None where it holds none"
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType): return next((found for found in map(a_text, parts) if found is not None), None)
    if origin is list and a_text(parts[0]): return [a_text(parts[0])]
    if origin is dict and a_text(parts[1]): return dict(text=a_text(parts[1]))
    if isinstance(kind, type) and issubclass(kind, BaseModel): return filled(kind, {}) or None
    return {str: 'text', dict: dict(text='text')}.get(kind)


def filled(model, fields):
    "A record with a text in every field of its model that may hold one: what a run seldom writes, and what is added later"
    fields = dict(fields)
    for name, field in model.model_fields.items():
        kind = RunConfig.model_fields[name].annotation if field.annotation is Any else field.annotation
        is_part = isinstance(kind, type) and issubclass(kind, BaseModel)
        if is_part and isinstance(fields.get(name), dict): fields[name] = filled(kind, fields[name])
        elif fields.get(name) is None and a_text(kind) is not None: fields[name] = a_text(kind)
    return fields


@pytest.fixture(scope='module')
def hostile(tmp_path_factory, runs):
    "Two runs with every text spoiled, and for each text that is needed one more where that is spoiled too"
    root = tmp_path_factory.mktemp('hostile')
    for number, folder in enumerate(sorted(runs.iterdir())):
        written = {**json.loads((folder/'run.json').read_text()), **MORE}
        record = filled(RunRecord, written)
        assert count_texts(record) > count_texts(written)+8 and record['cost']['note'] == record['timings']['tuning'] == 'text'
        cases = [spoil(record)]
        for path in NEEDED if number == 0 else ():
            case, place = spoil(record), None
            place = case
            for key in path[:-1]: place = place[key]
            place[path[-1]] = spoil(copy.deepcopy(place[path[-1]]))
            cases.append(case)
        for i, case in enumerate(cases):
            made = root/'runs'/f'{number}-{i}{NAMES[i % len(NAMES)]}'
            shutil.copytree(folder, made)
            (made/'run.json').write_text(json.dumps(case))
    return root


def check_page(page, path, least=1, policy=True):
    "A page that holds hostile texts shows them as texts, with its policy and without"
    html = path.read_text()
    page.goto(path.as_uri())
    page.wait_for_timeout(100)
    assert page.evaluate('window.hit') is None and page.locator('[onerror]').count() == 0
    assert page.inner_text('body').count('onerror') >= least      # they are there, as text
    assert page.locator('a[href^="javascript"]').count() == 0
    assert '49' not in re.findall(r'\{\{ (\S+) \}\}', html)
    page.goto('about:blank')
    page.set_content(re.sub('<meta http-equiv[^>]*>', '', html))
    page.wait_for_timeout(200)
    assert page.evaluate('window.hit') is None


def test_the_report(hostile, page):
    from catdog.comparison.compare import compare_runs
    from catdog.comparison.gather import read_runs
    from catdog.comparison.report import write_report
    comparison = compare_runs(*read_runs(hostile/'runs'))
    assert len(comparison.rows) >= 2 and comparison.left_out
    path = write_report(comparison, hostile/'report')
    check_page(page, path, least=4)
    for file in path.parent.glob('*.md'):
        for line in file.read_text().splitlines(): assert not re.search(r'(?<!\\)<(?!br>)', line), line


def test_what_compare_leaves_in_its_notebook(hostile, page):
    "Opened as a page, as Jupyter shows one that is trusted"
    done = run(BIN/'catdog', 'compare', hostile/'runs', '--out', hostile/'out', timeout=300)
    assert done.returncode == 0 and 'Traceback' not in done.stderr, done.stderr[-2000:]
    done = run(BIN/'jupyter', 'nbconvert', '--to', 'html', hostile/'out'/'compare.ipynb', timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    check_page(page, hostile/'out'/'compare.html')


@pytest.fixture(scope='module')
def named(tmp_path_factory, pets):
    "A class and photos with hostile names"
    root = tmp_path_factory.mktemp('named')/'photos'
    for folder, label in zip(sorted(pets.iterdir()), NAMES):
        (root/label).mkdir(parents=True)
        for i, photo in enumerate(sorted(folder.glob('*.jpg'))): shutil.copy(photo, root/label/f'{i}{NAMES[i % len(NAMES)]}.jpg')
    (root/NAMES[0]/f'damaged{NAMES[1]}.jpg').write_bytes(b'<script>window.hit = 4</script>')
    shutil.copy(root/NAMES[0]/f'0{NAMES[0]}.jpg', root/NAMES[1]/f'two{NAMES[0]}.jpg')
    return root


def test_card_review_page_and_what_python_shows(named, page, tmp_path):
    from catdog import door
    from catdog.evaluation.judge import find_doubts, write_review_page
    from catdog.photos.card import write_card
    from catdog.photos.catalogue import make_catalogue
    card = write_card(named, tmp_path/'card', issues=False)
    check_page(page, card, least=2)
    assert not re.search(r'(?<!\\)<', (tmp_path/'card'/'card.md').read_text())
    catalogue = make_catalogue(named)
    test = catalogue[catalogue.split == 'test']
    doubts = pd.DataFrame({'sha256': test.sha256, 'label': test.label, f'p_{NAMES[0]}': .4, f'p_{NAMES[1]}': .6})
    listed = find_doubts(catalogue, {HOSTILE: doubts}, 12)
    check_page(page, write_review_page(tmp_path/'review.html', listed, NAMES), least=3)
    labelled = [dict(path=name, label=name, probabilities={name: .9}) for name in NAMES]
    answers = door.Predictions([dict(path=name, error=name) for name in NAMES]+labelled)
    shown = dict(audit=door.audit(named), answers=answers, changed=door.Audit(None, HOSTILE))
    for name, thing in shown.items():
        text = thing._repr_markdown_()
        shows = dict(output_type='execute_result', execution_count=1, metadata={}, data={'text/markdown': text})
        cell = dict(cell_type='code', id='0'*8, metadata={}, source='', execution_count=1, outputs=[shows])
        notebook = dict(nbformat=4, nbformat_minor=5, metadata={}, cells=[cell])
        (tmp_path/f'{name}.ipynb').write_text(json.dumps(notebook))
    done = run(BIN/'jupyter', 'nbconvert', '--to', 'html', *tmp_path.glob('*.ipynb'), timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in shown: check_page(page, tmp_path/f'{name}.html')
