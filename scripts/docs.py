"""The site in _docs/: notebooks through nbdev's processors, then Quarto where it is installed, else smalldocs; both read _quarto.yml.

The pages ask nothing of another host. `make docs` ends with the command that serves them, since a browser lets no page of a folder search.
"""
import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from readme import figure

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT/'_docs'
UNSERVED = """<script>if (location.protocol === 'file:') addEventListener('DOMContentLoaded', () => {
  const note = document.createElement('p');
  note.className = 'quarto-unserved';
  note.textContent = 'Opened as a file: search needs the pages served. Run make serve and open http://127.0.0.1:8000.';
  document.querySelector('main')?.prepend(note);
});</script>"""
# What smalldocs says of what only Quarto reads, of what is added afterwards, and of where it wrote
EXPECTED = r'output-file is not read|format.html.grid is ignored|unknown key format-links|broken link live/index.html|^wrote \d+ page'
NOT_LIVE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What is in this photo?</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem }
</style>
<main>
<h1>What is in this photo?</h1>
<p>Here a network labels the photo that you drop, in your own browser. This copy of the site was made without it, as it needs two things that
rendering pages does not: a training of the baseline on the drawn sample, which takes about a minute, and onnxruntime for browsers, 14 MB
that are taken from npm once.</p>
<p><code>python scripts/live.py</code> adds both to this folder, and <code>make docs</code> ends with it. With a run of your own,
<code>catdog page RUN -o page/</code> writes the same page for your classes.</p>
</main>
</html>
"""


def helpers_of(sentence, cell):
    "The names in an exported cell of which nbdev shows nothing, as all of them are private; [] unless a sentence stands above it"
    if sentence.cell_type != 'markdown' or cell.cell_type != 'code' or 'export' not in cell.directives_: return []
    lines = ast.parse(cell.source).body
    defined = [line.name for line in lines if isinstance(line, (ast.FunctionDef, ast.ClassDef))]
    assigned = [line.targets[0].id for line in lines if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)]
    return [*defined, *assigned] if all(name.startswith('_') for name in defined) else []


class Helpers:
    "A processor of nbdev's: under a sentence about private helpers, which would stand alone, their source is shown"
    def __init__(self, nb): self.nb = nb

    def begin(self):
        for sentence, cell in zip(self.nb.cells, self.nb.cells[1:]):
            cell.helpers_ = helpers_of(sentence, cell)
            if cell.helpers_: cell.directives_['exports'] = cell.directives_.pop('export')

    def __call__(self, cell): pass


def fold_helpers(cell):
    "Fold the source of helpers, with their names above it"
    names = getattr(cell, 'helpers_', [])
    open_source = '#| code-fold: show\n#| code-summary: "Exported source"\n'
    if names: cell.source = cell.source.replace(open_source, f'#| code-fold: true\n#| code-summary: "Source: {", ".join(names)}"\n', 1)


def fold_imports(cell):
    "Fold a cell that imports and does nothing else: a reader wants to see what comes of it"
    if cell.cell_type != 'code' or cell.directives_ or cell.source.startswith('#|'): return
    try: lines = ast.parse(cell.source).body
    except SyntaxError: return      # a command of the shell
    imports = bool(lines) and all(isinstance(line, (ast.Import, ast.ImportFrom)) for line in lines)
    if imports: cell.source = f'#| code-fold: true\n#| code-summary: "Imports"\n{cell.source}'


def as_shown(text):
    "A printed text as a terminal shows it in the end: what follows a carriage return stands over what was before"
    return '\n'.join(line.rpartition('\r')[2] for line in text.split('\n'))


def join_streams(cell):
    "What was printed as one text, although it was printed in parts, without the bars of progress that came and went"
    joined = []
    for output in cell.get('outputs', []) if cell.cell_type == 'code' else []:
        goes_on = joined and output.output_type == 'stream' and joined[-1].get('name') == output.name
        if goes_on: joined[-1]['text'] = [*joined[-1]['text'], *output['text']]
        else: joined.append(output)
    for output in joined:
        if output.output_type == 'stream': output['text'] = [as_shown(''.join(output['text']))]
    if joined: cell['outputs'] = [output for output in joined if output.output_type != 'stream' or output['text'] != ['']]


def render():
    "Render the site by Quarto, or by smalldocs where that is missing"
    import nbdev.config
    import nbdev.serve
    from nbdev.doclinks import _build_modidx
    from nbdev.processors import FilterDefaults

    class Pages(FilterDefaults):
        def base_procs(self): return [Helpers, *super().base_procs(), fold_helpers, fold_imports, join_streams]

    nbdev.serve.FilterDefaults = Pages
    nbdev.config._load_toml = cache(nbdev.config._load_toml)      # it is read for every cell, which takes a quarter of the time
    if shutil.which('quarto'):
        from nbdev.quarto import nbdev_docs
        return nbdev_docs.__wrapped__(n_workers=0)
    _build_modidx()
    pages = nbdev.serve.proc_nbs('nbs', n_workers=0)
    shutil.rmtree(SITE, ignore_errors=True)
    done = subprocess.run([Path(sys.executable).parent/'smalldocs', 'render', str(pages)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in done.stdout.splitlines():
        if not re.search(EXPECTED, line): print(line)
    done.check_returncode()
    shutil.copytree(pages/'_docs', SITE)


def rewrite(files, change):
    "Write the files anew whose text a function changes"
    for file in files:
        text = file.read_text(encoding='utf-8')
        if (changed := change(text)) != text: file.write_text(changed, encoding='utf-8')


def without_web_fonts(style):
    "A theme's style that fetches nothing from other hosts; the system's fonts take the place of its own"
    return re.sub(r'@import\s+(?:url\([^)]*\)|"[^"]*"|\'[^\']*\')\s*;', '', style)


def with_descriptions(page):
    "A page whose figures without a description are named as what they are, for those who hear it"
    return re.sub(r'<img(?![^>]*\balt=)(?=\s)', '<img alt="Figure made by the code above"', page)


def with_note(page):
    "A page that says, where it was opened as a file, how to have its search"
    return page if UNSERVED in page else page.replace('</head>', UNSERVED+'</head>', 1)


def with_plain_names(page):
    "A page whose signatures name a class of their own module without the place it was run from"
    return re.sub(r'__main__(?:<span class="op">\.</span>|\.)', '', page)


def with_whole_options(page):
    "A page whose options, such as --max-ms, are not broken after their dashes at the end of a line"
    def whole(code): return re.sub(r'(?<![\w<-])(--[a-z][a-z-]*)', r'<span class="option">\1</span>', code[0])
    return re.sub(r'<code.*?</code>', whole, page, flags=re.S)


def with_narrow_figure(page):
    "The front page with the narrow form of its figure where a window is narrow"
    narrow = '<source media="(max-width: 640px)" srcset="results-narrow.svg">'
    return re.sub(r'<img[^>]*src="results\.svg"[^>]*>', lambda wide: f'<picture>{narrow}{wide[0]}</picture>', page)


def write_live(folder):
    "What stands where the live page goes until scripts/live.py has made it"
    folder.mkdir(parents=True, exist_ok=True)
    (folder/'index.html').write_text(NOT_LIVE, encoding='utf-8')


if __name__ == '__main__':
    os.chdir(ROOT)
    render()
    write_live(SITE/'live')
    (SITE/'results-narrow.svg').write_text(figure(narrow=True), encoding='utf-8')
    rewrite([SITE/'index.html'], with_narrow_figure)
    rewrite(SITE.rglob('*.css'), without_web_fonts)
    rewrite(SITE.glob('search.json'), with_plain_names)
    rewrite(SITE.rglob('*.html'), lambda page: with_whole_options(with_plain_names(with_note(with_descriptions(page)))))
    print(SITE/'index.html')
    print('To read it with its search: make serve')
