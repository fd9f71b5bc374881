"""The modules of catdog are what its notebooks export, and import only from those that come before them."""
import ast
import shutil

import yaml
from conftest import BIN, ROOT, run


def read_modules(package):
    "The text of each module that a notebook makes, by its path in the package; `conf` and the page's files are written by hand"
    names = {p: p.relative_to(package).as_posix() for p in package.rglob('*.py')}
    return {name: p.read_text() for p, name in names.items() if not name.startswith(('conf/', 'page/', 'notebooks/'))}


def test_modules_match_notebooks(tmp_path):
    shutil.copy(ROOT/'pyproject.toml', tmp_path)
    shutil.copytree(ROOT/'nbs', tmp_path/'nbs', symlinks=True, ignore=shutil.ignore_patterns('runs', 'report', '.ipynb_checkpoints'))
    (tmp_path/'catdog').mkdir()
    for name in ('__init__.py', '__main__.py'): shutil.copy(ROOT/'catdog'/name, tmp_path/'catdog')
    done = run(BIN/'nbdev-export', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exported, committed = read_modules(tmp_path/'catdog'), read_modules(ROOT/'catdog')
    assert exported.keys() == committed.keys()
    for name in exported: assert exported[name] == committed[name], f'{name} is not what its notebook exports: run nbdev-export'


def test_modules_import_one_way():
    sidebar = yaml.safe_load((ROOT/'_quarto.yml').read_text())['website']['sidebar']['contents']
    listed = [name for part in sidebar if isinstance(part, dict) for name in part['contents'] if name[:1].isdigit()]
    notebooks = [p.name for p in sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))]
    assert listed == notebooks, 'the sidebar of _quarto.yml lists each module once, in the order of the notebooks'
    order = [name.split('_', 1)[1].removesuffix('.ipynb') for name in notebooks]
    for i, name in enumerate(order):
        path = ROOT/'catdog'/f"{name.replace('.', '/')}.py"
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom): continue
            imported = absolute(node, name)
            if imported.split('.')[0] != 'catdog' or imported == 'catdog': continue
            imported = imported.removeprefix('catdog.')
            known = [imported] if imported in order else [f'{imported}.{a.name}' for a in node.names]
            assert set(known) <= set(order[:i]), f'{name} imports {known}, which come after it'


def absolute(node, module):
    "The module that an import names, from the root of the package"
    if not node.level: return node.module or ''
    parts = ['catdog', *module.split('.')][:-node.level]
    return '.'.join(parts+([node.module] if node.module else []))
