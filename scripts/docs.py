"""The site in _docs/: notebooks through nbdev's processors, then Quarto where it is installed, else smalldocs; both read _quarto.yml.

The pages ask nothing of another host. `make docs` ends with the command that serves them, since a browser lets no page of a folder search.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT/'_docs'
UNSERVED = """<script>if (location.protocol === 'file:') addEventListener('DOMContentLoaded', () => {
  const note = document.createElement('p');
  note.className = 'quarto-unserved';
  note.textContent = 'Opened as a file: search needs the pages served. Run `make serve` and open http://127.0.0.1:8000.';
  document.querySelector('main')?.prepend(note);
});</script>"""


def render():
    "Run what renders the site; its exit status is ours where it fails"
    if shutil.which('quarto'):
        done = subprocess.call([Path(sys.executable).parent/'nbdev-docs'])
        if done: sys.exit(done)
        return
    from nbdev.doclinks import _build_modidx
    from nbdev.serve import proc_nbs
    _build_modidx()
    pages = proc_nbs('nbs', n_workers=0)
    shutil.rmtree(SITE, ignore_errors=True)
    subprocess.check_call([Path(sys.executable).parent/'smalldocs', 'render', str(pages)])
    shutil.copytree(pages/'_docs', SITE)


def keep_to_itself(site):
    "Take out what a theme fetches from other hosts: its web fonts; the system's take their place"
    for style in site.rglob('*.css'):
        text = style.read_text(encoding='utf-8')
        alone = re.sub(r'@import\s+(?:url\([^)]*\)|"[^"]*"|\'[^\']*\')\s*;', '', text)
        if alone != text: style.write_text(alone, encoding='utf-8')


def describe_figures(site):
    "A figure without a description is named as what it is, for those who hear a page"
    for page in site.rglob('*.html'):
        text = page.read_text(encoding='utf-8')
        told = re.sub(r'<img(?![^>]*\balt=)(?=\s)', '<img alt="Figure made by the code above"', text)
        if told != text: page.write_text(told, encoding='utf-8')


def note_unserved(site):
    "A page that was opened as a file says how to have its search"
    for page in site.rglob('*.html'):
        text = page.read_text(encoding='utf-8')
        if UNSERVED not in text: page.write_text(text.replace('</head>', UNSERVED+'</head>', 1), encoding='utf-8')


if __name__ == '__main__':
    os.chdir(ROOT)
    render()
    keep_to_itself(SITE)
    describe_figures(SITE)
    note_unserved(SITE)
    print(SITE/'index.html')
    print('To read it with its search: make serve')
