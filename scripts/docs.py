"""The site in _docs/: notebooks through nbdev's processors, then Quarto where it is installed, else smalldocs; both read _quarto.yml."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)

if __name__ == '__main__':
    if shutil.which('quarto'): sys.exit(subprocess.call([Path(sys.executable).parent/'nbdev-docs']))
    from nbdev.doclinks import _build_modidx
    from nbdev.serve import proc_nbs
    _build_modidx()
    pages = proc_nbs('nbs', n_workers=0)
    shutil.rmtree('_docs', ignore_errors=True)
    subprocess.check_call([Path(sys.executable).parent/'smalldocs', 'render', str(pages)])
    shutil.copytree(pages/'_docs', '_docs')
    print(ROOT/'_docs'/'index.html')
