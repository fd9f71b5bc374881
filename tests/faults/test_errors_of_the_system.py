"What the operating system refuses is said by every command as a sentence: which file, what is the matter, what to do."
import os
import signal
import sys

import pytest
from conftest import TINY, options

LONG = os.environ.get('CATDOG_FAULTS') == 'long'
LONG_NAME = 'x'*500


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    "The catdog command in this process: its exit status, and what it said of an error"
    from catdog import cli
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGINT)
    def run(*words):
        monkeypatch.setattr(sys, 'argv', ['catdog', *map(str, words)])
        try: cli.main()
        except SystemExit as error: status = error.code
        else: status = 0
        finally: signal.signal(signal.SIGINT, handler)
        said = capsys.readouterr().err
        return status, [line for line in said.splitlines() if line.startswith('catdog: ')] or [said]
    return run


def places(name, model, pets):
    "Each command with a name where it expects a file or a folder"
    settings = {**TINY, 'data': pets, 'runs': 'runs'}
    sweep = [f'{key}={value}' for key, value in settings.items()]
    return {
        'audit': ['audit', name], 'audit --json': ['audit', pets, '--json', f'{name}/a.json'],
        'audit --review': ['audit', pets, '--no-issues', '--report', 'card', '--review', name],
        'doubtful': ['doubtful', name], 'doubtful --runs': ['doubtful', pets, '--runs', name],
        'review': ['review', name], 'review --review': ['review', pets, '--review', name],
        'verdict': ['verdict', name, 'keep'],
        'train --data': ['train', *options({**settings, 'data': name})], 'train --review': ['train', *options(settings), '--review', name],
        'train --weights': ['train', *options({**settings, 'weights': f'{name}/a.pth'})],
        'evaluate': ['evaluate', name, '--cost'], 'evaluate --also': ['evaluate', model, '--also', name],
        'compare': ['compare', name], 'choose': ['choose', name], 'next': ['next', name],
        'find': ['find', name], 'find --candidates': ['find', pets, '--candidates', f'{name}/a.txt'],
        'find --review': ['find', pets, '--review', name],
        'sweep data': ['sweep', *sweep[:-2], f'data={name}'], 'sweep --config-dir': ['sweep', *sweep, '--config-dir', name, '+sweep=mine'],
        'export': ['export', name, '-o', 'out'], 'predict': ['predict', name, pets], 'serve': ['serve', name],
        'push': ['push', name, 'me/pets'], 'page': ['page', name, '-o', 'out'], 'drift': ['drift', name, model],
    }


SLOW = ['audit --report', 'compare', 'doubtful --runs', 'evaluate --also', 'export', 'page', 'push', 'train --review', 'train --weights']
QUICK = [(place, 'too long') for place in places('', '', '')]+[(place, 'a home of nobody') for place in ('audit', 'predict', 'choose')]
WHOLE = [(place, name) for place in places('', '', '') for name in ('too long', 'a home of nobody')]
WHOLE.remove(('review --review', 'a home of nobody'))      # a file to be made, and the page is served
ASKED = WHOLE if LONG else [(place, name) for place, name in QUICK if place not in SLOW]


@pytest.mark.parametrize('place, name', ASKED)
def test_a_name_that_leads_nowhere(command, pets, runs, place, name):
    name = LONG_NAME if name == 'too long' else '~nobody-of-that-name/x'
    status, said = command(*places(name, next(runs.glob('test_resnet*')), pets)[place])
    assert status in (1, 2), (status, said)
    assert len(said) == 1 and 'Errno' not in said[0] and 'Traceback' not in said[0] and LONG_NAME not in said[0] and len(said[0]) < 900


MADE = ['sample', 'lab', 'compare --out', 'train --runs', 'find --runs', *(['export', 'page', 'audit --report'] if LONG else [])]


@pytest.mark.parametrize('words', MADE)
def test_a_place_that_cannot_be_made(command, pets, runs, words):
    model = next(runs.glob('test_resnet*'))
    name = f'{LONG_NAME}/out'
    commands = {
        'sample': ['sample', name, '-n', 4], 'export': ['export', model, '-o', name], 'page': ['page', model, '-o', name],
        'lab': ['lab', name], 'compare --out': ['compare', runs, '--out', name], 'audit --report': ['audit', pets, '--report', name],
        'train --runs': ['train', *options({**TINY, 'data': pets, 'runs': name})], 'find --runs': ['find', pets, '--runs', name]}
    status, said = command(*commands[words])
    assert status == 2 and len(said) == 1 and 'Errno' not in said[0] and LONG_NAME not in said[0]


def error_of(make):
    "The sentence for what a function raises"
    from catdog.errors import explain_os_error
    with pytest.raises(OSError) as caught: make()
    assert explain_os_error(str(caught.value)) == explain_os_error(caught.value)
    return explain_os_error(caught.value)


def test_each_kind_is_a_sentence(tmp_path):
    (tmp_path/'file').write_text('')
    (tmp_path/'loop').symlink_to('loop')
    said = {
        'is not there: check': lambda: open(tmp_path/'missing'), 'is a folder: name a file': lambda: open(tmp_path),
        'lies below one: name a folder': lambda: open(tmp_path/'file'/'x'), 'shorten it': lambda: open(tmp_path/LONG_NAME),
        'is there already': lambda: os.mkdir(tmp_path), 'leads back to itself': lambda: open(tmp_path/'loop'),
        'free some room': lambda: open('/dev/full', 'w', buffering=1).write('x\n'),
        'is a folder that holds something': lambda: os.rmdir(tmp_path)}
    if not os.path.exists('/dev/full'): said.pop('free some room')
    for text, make in said.items(): assert text in error_of(make), error_of(make)


def test_windows_is_refused_at_the_start(monkeypatch, capsys):
    from catdog import cli, door
    monkeypatch.setattr(sys, 'platform', 'win32')
    monkeypatch.setattr(sys, 'argv', ['catdog', 'audit', 'photos'])
    with pytest.raises(SystemExit) as ended: cli.main()
    assert ended.value.code == 2 and 'wsl --install' in capsys.readouterr().err
    with pytest.raises(ValueError, match='wsl --install'): door.train(data='sample', arch='test_resnet', weights='none')
