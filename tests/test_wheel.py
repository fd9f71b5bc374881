"""The wheel carries all that an installed catdog needs, and works away from the checkout."""
import json
import sys
import sysconfig
import venv
import zipfile
from configparser import ConfigParser
from email import message_from_string

import pytest
from conftest import ROOT, TINY, options, run


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp('dist')
    done = run(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--quiet', '--wheel-dir', out, ROOT)
    assert done.returncode == 0, done.stderr
    return next(out.glob('*.whl'))


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
    assert {'catdog/notebooks/train.ipynb', 'catdog/notebooks/compare.ipynb', 'catdog/cli.py', 'catdog/photos/audit.py', 'catdog/comparison/report.py', 'catdog/conf/config.yaml', 'catdog/conf/sweep/quick.yaml', 'catdog/conf/hydra/launcher/ray.yaml'} <= set(names)
    assert not [n for n in names if n.startswith(('nbs/', 'tests/'))]
    assert (metadata['Name'], metadata['Version'], metadata['Summary']) == tuple(settings['DEFAULT'][k] for k in ('name', 'version', 'description'))
    required = {line.strip() for line in settings['DEFAULT']['requirements'].splitlines()}
    assert required == {r for r in metadata.get_all('Requires-Dist') if 'extra ==' not in r}


def test_requirements_cover_the_imports():
    "Every package that catdog imports is required in settings.ini: by the base, or by an extra where a function or one of its modules imports it"
    import ast
    import re
    settings = ConfigParser(delimiters=['='], interpolation=None)
    settings.read(ROOT/'settings.ini')
    names = lambda text: {re.split(r'[<>=;\[\s]', line.strip())[0].lower() for line in text.splitlines() if line.strip()}
    required = names(settings['DEFAULT']['requirements'])
    extras = set().union(*[names(text) for key, text in settings['DEFAULT'].items() if key.endswith('_requirements') and key != 'dev_requirements'])
    called = {'PIL': 'pillow', 'sklearn': 'scikit-learn', 'fastcore': 'fastai', 'fasttransform': 'fastai', 'hydra': 'hydra-core', 'omegaconf': 'hydra-core', 'filelock': 'torch', 'starlette': 'fastapi', 'multipart': 'python-multipart'}
    for path in (ROOT/'catdog').rglob('[a-z]*.py'):
        tree = ast.parse(path.read_text())
        lazy = {id(node) for function in ast.walk(tree) if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) for node in ast.walk(function)}
        for node in ast.walk(tree):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for module in (m.split('.')[0] for m in modules):
                if module in sys.stdlib_module_names or module == 'catdog': continue
                assert called.get(module, module) in (required | extras if id(node) in lazy or path.parent.name == 'sweeps' else required), f'{path.relative_to(ROOT)} imports {module}, which settings.ini does not require'


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
