"""README.md from nbs/index.ipynb: `python scripts/readme.py` writes it, `--check` exits with 1 where it is out of date."""
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent


def readme():
    "The front page's Markdown, its links and pictures looked for in nbs/"
    notebook = nbformat.read(ROOT/'nbs'/'index.ipynb', as_version=4)
    exporter = MarkdownExporter(exclude_input=True, exclude_output=True)
    text, _ = exporter.from_notebook_node(notebook)
    return re.sub(r'\]\((?!https?:|#)', '](nbs/', text).strip()+'\n'


if __name__ == '__main__':
    target = ROOT/'README.md'
    if '--check' in sys.argv[1:]: sys.exit(target.read_text(encoding='utf-8') != readme())
    target.write_text(readme(), encoding='utf-8')
