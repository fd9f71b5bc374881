"""Every numbered notebook runs from top to bottom, in a process of its own."""
import sys

import pytest
from conftest import ROOT, run


@pytest.mark.parametrize('name', sorted(p.name for p in (ROOT/'nbs').glob('[0-9]*.ipynb')))
def test_notebook_runs(name):
    code = f"import sys; from nbdev.test import test_nb; ok, _ = test_nb('nbs/{name}'); sys.exit(not ok)"
    done = run(sys.executable, '-c', code, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
