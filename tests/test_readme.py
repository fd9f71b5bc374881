"""README.md is made from nbs/index.ipynb, what it shows exists, and its commands work from a fresh clone in the order they stand."""
import os
import re
import shlex
import sys
import sysconfig

import pytest
from conftest import BIN, ROOT, run

README = (ROOT/'README.md').read_text()
TINY = dict(epochs=1, image_size=48, weights='none', batch_size=16, precision='fp32')
AS_OPTIONS = ' '.join(f"--{name.replace('_', '-')} {value}" for name, value in TINY.items())
AS_FINDER = '--candidates test_resnet,test_vit --weights none --image-size 48 --epochs 1 --folds 2 --budget 5s'
AS_OVERRIDES = ' '.join(f'{name}={value}' for name, value in TINY.items())
AS_PARAMETERS = ' '.join(f'-p {name} {value}' for name, value in TINY.items())
AS_ARGUMENTS = ', '.join(f'{name}={value!r}' for name, value in TINY.items())

# What stands between the reader's words and this machine: settings that make a training one of seconds, one seed of a sweep
# and two photos of an evaluation, and the libraries that pip would bring, lent by PYTHONPATH. `choose` may say that the data
# cannot decide, which is a status of its own.
READER = f"""
set -eu
skip() {{ echo "skipped: $*" >&2; }}
catdog() {{
  case "$1" in
    sample) command catdog "$@" -n 60 ;;
    train) command catdog "$@" {AS_OPTIONS} ;;
    sweep) command catdog "${{@/seed=0,1/seed=0}}" {AS_OVERRIDES} ;;
    evaluate) command catdog "$@" --limit 2 ;;
    choose) command catdog "$@" || test $? -eq 3 -o $? -eq 4 ;;
    find) command catdog "$@" {AS_FINDER} || test $? -eq 3 ;;
    *) command catdog "$@" ;;
  esac
}}
papermill() {{ python -m papermill "$@" {AS_PARAMETERS}; }}
make() {{
  case "$1" in
    demo) skip 'make demo trains for minutes; its commands are checked by test_demo_is_made_of_commands_that_work' ;;
    test) skip 'make test is what runs this' ;;
    *) return 1 ;;
  esac
}}
"""


def read_blocks():
    "The commands of the README in order: language and text of each block that names one"
    return re.findall(r'^```(sh|python)\n(.*?)^```$', README, re.M|re.S)


def write_script():
    "All of them as one program of the shell, which ends at the first that fails and says which it was"
    lines = [READER]
    for language, text in read_blocks():
        if language == 'python':
            quick = text.replace("data='photos'", f"data='photos', {AS_ARGUMENTS}")
            lines.append(f"echo '+ python' >&2\npython - <<'END'\n{quick}END")
            continue
        for line in text.splitlines():
            typed = line.replace('ADDRESS', shlex.quote(str(ROOT)))
            lines.append(f"echo {shlex.quote(f'+ {line}')} >&2\n{typed}")
    return '\n'.join(lines)


def test_readme_is_in_sync():
    assert run(sys.executable, ROOT/'scripts'/'readme.py', '--check').returncode == 0, 'run python scripts/readme.py'


def test_links_and_pictures_exist():
    for target in re.findall(r'\]\(([^)#]+)', README):
        if '://' not in target: assert (ROOT/target).exists(), target


def test_options_named_in_readme_exist():
    from catdog.training.config import RunConfig
    for name in re.findall(r'-p (\w+) ', README): assert name in RunConfig.model_fields or name == 'out', name


def test_exit_codes_are_those_of_the_command():
    from catdog.cli import EXIT_CODES
    assert {int(code): text for code, text in re.findall(r'^\| (\d+) \| (.*) \|$', README, re.M)} == EXIT_CODES


def test_the_sample_answer_is_what_choose_says(tmp_path):
    from catdog.comparison.example import write_example_run
    for arch, accuracy, milliseconds in (('large', .81, 40.), ('middle', .805, 12.), ('small', .70, 3.)):
        for seed in (0, 1): write_example_run(tmp_path/'runs', arch, seed, accuracy, milliseconds, photos=600)
    said = run(BIN/'catdog', 'choose', '--max-ms', 20, '--delta', 3, cwd=tmp_path, env={**os.environ, 'COLUMNS': '80'}).stdout
    answer = re.search('^middle is the cheapest.*?(?=^```$)', README, re.M|re.S)[0]
    assert answer in said, said


def test_what_stands_first_is_short():
    assert len(README.partition('## One model')[0].split()) <= 760


def test_no_package_is_promised():
    "There is none to be found: what a reader installs comes from the checkout, and so do the extras that a message names"
    pages = [path for path in (ROOT/'nbs').glob('*.ipynb') if path.stem != '00_errors']     # which answers whoever installed it otherwise
    for path in [ROOT/'README.md', ROOT/'cloud'/'README.md', *pages]:
        assert 'catdog-timm[' not in path.read_text(), path


def test_demo_is_made_of_commands_that_work():
    from catdog.finding.archs import read_candidates
    from catdog.finding.find import make_find_config
    told = run('make', '-n', 'demo', cwd=ROOT).stdout
    words, = [shlex.split(line.partition(' || ')[0]) for line in told.splitlines() if 'catdog find' in line]
    given = dict(zip(words[3::2], words[4::2]))
    config = make_find_config(data=words[2], **{name.removeprefix('--').replace('-', '_'): value for name, value in given.items()})
    assert read_candidates(config.candidates)[0] == 'baseline'


def test_commands_work_in_order(tmp_path):
    if not (ROOT/'.git').exists(): pytest.skip('not a git checkout: there is nothing to clone')
    lent = dict(PYTHONPATH=sysconfig.get_path('purelib'), PIP_NO_DEPS='1', PIP_NO_BUILD_ISOLATION='0', PIP_NO_INDEX='1')
    done = run('bash', '-c', write_script(), cwd=tmp_path, env={**os.environ, **lent}, timeout=1500)
    assert done.returncode == 0, done.stderr[-4000:]
    assert 'Successfully installed catdog' in done.stdout and (tmp_path/'catdog'/'report'/'report.html').exists()
    assert sum(line.startswith('skipped: ') for line in done.stderr.splitlines()) == 2
