"""README.md from nbs/index.ipynb, with its figure from results.ipynb; with `--check`, exits with 1 where they are out of date."""
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


def figure(narrow=False):
    "Accuracy against cost as results.ipynb shows it, wide or narrow, alone: on white, in colours that need no page around them"
    notebook = nbformat.read(ROOT/'nbs'/'results.ipynb', as_version=4)
    pages = [output.data.get('text/html', '') for cell in notebook.cells for output in cell.get('outputs', []) if 'data' in output]
    page = next(page for page in pages if 'aria-label="Accuracy against cost' in page)
    drawn = re.findall(r'<svg.*?</svg>', page, re.S)[narrow]
    drawn = re.sub(r'var\([^,()]*, *([^)]*)\)', r'\1', drawn).replace('currentColor', '#24292f')
    return drawn.replace('<svg ', '<svg style="background: #ffffff" ', 1)+'\n'


if __name__ == '__main__':
    made = {ROOT/'README.md': readme(), ROOT/'nbs'/'results.svg': figure()}
    if '--check' in sys.argv[1:]: sys.exit(any(not path.exists() or path.read_text(encoding='utf-8') != text for path, text in made.items()))
    for path, text in made.items(): path.write_text(text, encoding='utf-8')
