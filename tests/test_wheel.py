"""The wheel carries all that an installed catdog needs, and works away from the checkout."""
import ast
import json
import re
import sys
import sysconfig
import venv
import zipfile
from configparser import ConfigParser
from email import message_from_string

import pytest
from conftest import ROOT, TINY, options, run


@pytest.fixture(scope='module')
def bare(tmp_path_factory, wheel):
    "A virtual environment with the wheel; the libraries it requires are lent by path, catdog itself is not"
    folder = tmp_path_factory.mktemp('bare')/'venv'
    venv.create(folder, with_pip=True)
    python = folder/'bin'/'python'
    site = run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').stdout.strip()
    with open(f'{site}/lent.pth', 'w') as file: file.write(sysconfig.get_path('purelib')+'\n')
    done = run(python, '-m', 'pip', 'install', '--quiet', '--no-deps', '--force-reinstall', wheel)
    assert done.returncode == 0, done.stderr
    done = run(python, '-c', 'import catdog; print(catdog.__file__)', cwd=folder)
    assert str(folder) in done.stdout, done.stdout+done.stderr
    return folder


def test_metadata_is_that_of_settings_ini(wheel):
    settings = ConfigParser(delimiters=['='], interpolation=None)
    settings.read(ROOT/'settings.ini')
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = message_from_string(archive.read(next(n for n in names if n.endswith('METADATA'))).decode())
    notebooks = {f'catdog/notebooks/{name}.ipynb' for name in settings['DEFAULT']['user_notebooks'].split()}
    kinds = ('*.py', 'conf/**/*.yaml', 'page/*', 'py.typed')
    files = {path.relative_to(ROOT).as_posix() for kind in kinds for path in (ROOT/'catdog').rglob(kind) if path.is_file()}
    assert notebooks | files <= set(names)
    assert metadata['License-Expression'] == settings['DEFAULT']['license']
    assert not [n for n in names if n.startswith(('nbs/', 'tests/'))]
    fields = dict(Name='name', Version='version', Summary='description')
    for field, key in fields.items(): assert metadata[field] == settings['DEFAULT'][key]
    required = {line.strip() for line in settings['DEFAULT']['requirements'].splitlines()}
    assert required == {r for r in metadata.get_all('Requires-Dist') if 'extra ==' not in r}


CALLED = {
    'PIL': 'pillow', 'pynvml': 'nvidia-ml-py', 'sklearn': 'scikit-learn', 'hydra': 'hydra-core', 'omegaconf': 'hydra-core',
    'pillow_heif': 'pillow-heif', 'IPython': 'ipython', 'nbclient': 'papermill', 'starlette': 'fastapi', 'multipart': 'python-multipart',
}


def read_requirements():
    "Names of the packages that the base requires, and of those that any extra but dev does"
    settings = ConfigParser(delimiters=['='], interpolation=None)
    settings.read(ROOT/'settings.ini')
    def names(text): return {re.split(r'[<>=;\[\s]', line.strip())[0].lower() for line in text.splitlines() if line.strip()}
    extras = [names(text) for key, text in settings['DEFAULT'].items() if key.endswith('_requirements') and key != 'dev_requirements']
    return names(settings['DEFAULT']['requirements']), set().union(*extras)


def read_imports(path):
    "Packages that a module imports, each with whether that is done within a function"
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lazy = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level: modules = [node.module]
        for module in modules: yield module.split('.')[0], id(node) in lazy


def test_requirements_cover_the_imports():
    "By the base, or by an extra where a function or a module of sweeps imports it"
    required, extras = read_requirements()
    for path in (ROOT/'catdog').rglob('[a-z]*.py'):
        for module, lazy in read_imports(path):
            if module in sys.stdlib_module_names or module == 'catdog': continue
            allowed = required | extras if lazy or path.parent.name == 'sweeps' else required
            assert CALLED.get(module, module) in allowed, f'{path.relative_to(ROOT)} imports {module}, which settings.ini does not require'


def test_installed_command_knows_its_presets(bare, tmp_path):
    done = run(bare/'bin'/'catdog', 'sweep', '+sweep=quick', '--dry-run', cwd=tmp_path)
    assert done.returncode == 0 and len(done.stdout.split()) == 5, done.stderr


def test_installed_command_trains_and_predicts(bare, pets, tmp_path):
    command = bare/'bin'/'catdog'
    done = run(command, 'train', *options({**TINY, 'data': pets, 'runs': tmp_path/'runs'}), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path/'runs').iterdir()
    told = run(command, 'predict', folder, pets/'cat'/'cat.0.jpg', '--json', cwd=tmp_path)
    assert told.returncode == 0 and set(json.loads(told.stdout)['probabilities']) == {'cat', 'dog'}
    report = run(command, 'compare', tmp_path/'runs', '--out', tmp_path/'report', cwd=tmp_path)
    assert report.returncode == 0 and (tmp_path/'report'/'report.html').exists(), report.stderr
