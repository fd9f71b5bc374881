"""Notebooks are clean: stable ids, one parameters cell that papermill finds, nothing in the outputs that must not be published."""
import ast
import json
import re
import subprocess

import pytest
from conftest import BIN, ROOT, run

NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_clean(path):
    notebook = json.loads(path.read_text())
    assert (notebook['nbformat'], notebook['nbformat_minor']) == (4, 5)
    assert notebook['metadata']['kernelspec']['name'] == 'python3' and notebook['metadata']['kernelspec']['language'] == 'python'
    ids = [cell['id'] for cell in notebook['cells']]
    assert len(set(ids)) == len(ids) and all(re.fullmatch('[0-9a-f]{8}', i) for i in ids)
    drawn = any("data = 'sample'" in ''.join(cell['source']) for cell in notebook['cells'])     # whose pictures anyone may see
    for cell in notebook['cells']:
        if cell['cell_type'] != 'code': continue
        assert cell['execution_count'] is None
        for output in cell['outputs']:
            text = json.dumps(output)
            assert output['output_type'] != 'error' and (drawn or 'image/jpeg' not in text)
            own = re.search(r'(/(home|Users|root|tmp|work)/|[A-Z]:\\\\Users)', text)
            assert not own, f'a path of one machine in the output of cell {cell["id"]}'


@pytest.mark.parametrize('path', [path for path in NOTEBOOKS if path.stem[0].isdigit()], ids=lambda p: p.stem)
def test_imports_of_examples_stand_alone(path):
    "The site runs each cell with an import, and none of those above it: with other code in it the page would not be made"
    for cell in json.loads(path.read_text())['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or source.startswith('#|') or source.lstrip().startswith(('%', '!')): continue
        kinds = [isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(source).body]
        assert all(kinds) or not any(kinds), source


@pytest.mark.parametrize('name', ['train', 'compare'])
def test_one_parameters_cell(name):
    cells = json.loads((ROOT/'nbs'/f'{name}.ipynb').read_text())['cells']
    assert sum('parameters' in cell['metadata'].get('tags', []) for cell in cells) == 1


def test_parameters_are_the_fields_of_run_config():
    from catdog.training.config import RunConfig
    cells = json.loads((ROOT/'nbs'/'train.ipynb').read_text())['cells']
    source = ''.join(next(c['source'] for c in cells if 'parameters' in c['metadata'].get('tags', [])))
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}
    assert given == {name: field.default for name, field in RunConfig.model_fields.items()}


@pytest.mark.parametrize('name', ['train', 'compare', 'find', 'explore'])
def test_papermill_reads_every_parameter(name, caplog):
    "It gives up on a line with two signs of equality, comment included, and warns of a parameter that it does not know"
    from papermill.inspection import inspect_notebook
    cells = json.loads((ROOT/'nbs'/f'{name}.ipynb').read_text())['cells']
    source = ''.join(next(c['source'] for c in cells if 'parameters' in c['metadata'].get('tags', [])))
    assert set(inspect_notebook(str(ROOT/'nbs'/f'{name}.ipynb'))) == {node.targets[0].id for node in ast.parse(source).body}
    assert 'Unable to parse' not in caplog.text


def test_cleaning_changes_nothing(tmp_path):
    for path in NOTEBOOKS:
        copy = tmp_path/path.name
        copy.write_bytes(path.read_bytes())
        done = run(BIN/'nbdev-clean', '--fname', copy, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert copy.read_bytes() == path.read_bytes(), f'{path.name} is not clean: run nbdev-clean'


def test_no_photos_or_weights_are_tracked():
    if not (ROOT/'.git').exists(): pytest.skip('not a git checkout')
    tracked = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [f for f in tracked if re.search(r'\.(jpe?g|webp|safetensors|pth|pt)$', f, re.I)]
