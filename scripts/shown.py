"""How much of each notebook shows itself: public names its examples use, and lines of example for 100 exported."""
import ast
import json
import sys
from pathlib import Path


def cells_of(path):
    "The exported and the other code cells of a notebook, as two lists of sources."
    exported, examples = [], []
    for cell in json.loads(path.read_text())['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or source.startswith('#| default_exp'): continue
        (exported if source.startswith('#| export') else examples).append(source)
    return exported, examples


def parse(source):
    "A cell's syntax tree; lines of IPython's own are left out."
    return ast.parse('\n'.join(line for line in source.splitlines() if not line.lstrip().startswith(('%', '!'))))


def public_names(exported):
    "The functions and classes a notebook's exported cells define, without those that begin with an underscore."
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    nodes = [node for source in exported for node in parse(source).body]
    named = [node for node in nodes if isinstance(node, kinds) and not node.name.startswith('_')]
    return [node.name for node in named if not is_method(node)]


def is_method(node):
    "Whether a function is a method that fastcore's `patch` gives to a class."
    return any(isinstance(mark, ast.Name) and mark.id == 'patch' for mark in node.decorator_list)


def used_names(examples):
    "Every name and attribute that the examples use; an import alone uses nothing."
    nodes = [node for source in examples for node in ast.walk(parse(source))]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def lines_of(sources):
    "How many lines of code stand in these cells, without blank lines and comments."
    return sum(bool(line.strip()) and not line.lstrip().startswith('#') for source in sources for line in source.splitlines())


def measure(path):
    "One notebook's row: its name, public names, those not shown, lines exported and lines of example."
    exported, examples = cells_of(path)
    names = public_names(exported)
    used = used_names(examples)
    return path.stem, names, [name for name in names if name not in used], lines_of(exported), lines_of(examples)


def main():
    rows = [measure(path) for path in sorted(Path('nbs').glob('[0-9]*.ipynb'))]
    names, hidden = sum(len(row[1]) for row in rows), sum(len(row[2]) for row in rows)
    lines, shown = sum(row[3] for row in rows), sum(row[4] for row in rows)
    for stem, of, missing, exported, examples in sorted(rows, key=lambda row: row[4] / max(row[3], 1)):
        print(f'{stem:32}{len(of) - len(missing):4}/{len(of):<4}{100 * examples / max(exported, 1):5.0f}%  {", ".join(missing)}')
    print(f'{names - hidden} of {names} public names shown ({100 * (1 - hidden / names):.0f}%); {100 * shown / lines:.0f} lines of example for 100')


if __name__ == '__main__': sys.exit(main())
