"""The modules of catdog are what its notebooks export, and import only from those that come before them."""
import ast
import shutil

import yaml
from conftest import BIN, ROOT, run


def test_modules_match_notebooks(tmp_path):
    shutil.copy(ROOT/'pyproject.toml', tmp_path)
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs', symlinks=True, ignore=shutil.ignore_patterns('runs', 'report', '.ipynb_checkpoints'))
    (tmp_path/'catdog').mkdir()
    shutil.copy(ROOT/'catdog'/'__init__.py', tmp_path/'catdog')
    done = run(BIN/'nbdev-export', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exported = {p.name: p.read_text() for p in (tmp_path/'catdog').glob('*.py')}
    committed = {p.name: p.read_text() for p in (ROOT/'catdog').glob('*.py')}
    assert exported.keys() == committed.keys()
    for name in exported: assert exported[name] == committed[name], f'{name} is not what its notebook exports: run nbdev-export'


def test_modules_import_one_way():
    sidebar = yaml.safe_load((ROOT/'_quarto.yml').read_text())['website']['sidebar']['contents']
    notebooks = [name for part in sidebar if isinstance(part, dict) for name in part['contents'] if name[:1].isdigit()]
    order = [name.split('_', 1)[1].removesuffix('.ipynb') for name in notebooks]
    assert sorted(order) == sorted(p.stem for p in (ROOT/'catdog').glob('[a-z]*.py')), 'the sidebar of _quarto.yml lists each module once'
    for i, name in enumerate(order):
        for node in ast.walk(ast.parse((ROOT/'catdog'/f'{name}.py').read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or '').startswith('catdog'): continue
            imported = [node.module.split('.')[1]] if '.' in node.module else [a.name for a in node.names]
            assert set(imported) <= set(order[:i]), f'{name} imports {imported}, which come after it'
