"""README.md is made from nbs/index.ipynb, and what it shows exists."""
import re
import sys

from conftest import ROOT, run


def test_readme_is_in_sync():
    assert run(sys.executable, ROOT/'scripts'/'readme.py', '--check').returncode == 0, 'run python scripts/readme.py'


def test_links_and_pictures_exist():
    for target in re.findall(r'\]\(([^)#]+)', (ROOT/'README.md').read_text()):
        if '://' not in target: assert (ROOT/target).exists(), target


def test_options_named_in_readme_exist():
    from catdog.training.config import RunConfig
    text = (ROOT/'README.md').read_text()
    for name in re.findall(r'-p (\w+) ', text): assert name in RunConfig.model_fields or name == 'out', name
