"""A run belongs to its photos: other photos of the same name are another run, the same ones are found again, and two commands of one run take turns."""
import json
import shutil
import subprocess

from conftest import BIN, TINY, catdog, options


def start_settings(data, runs): return options({**TINY, 'data': data, 'runs': runs})


def test_other_photos_of_the_same_name_are_another_run(tmp_path, pets):
    from catdog.photos.sample import draw_sample
    for project in ('first', 'second'): (tmp_path/project).mkdir()
    shutil.copytree(pets, tmp_path/'first'/'photos')
    draw_sample(tmp_path/'second'/'photos', n=40, seed=8)
    runs, trained = tmp_path/'runs', []
    for project in ('first', 'second', 'first', 'second'):
        done = catdog('train', *start_settings('photos', runs), cwd=tmp_path/project)
        assert done.returncode == 0, done.stderr
        trained.append((done.stdout.strip(), 'is finished already' in done.stderr))
    assert [already for _, already in trained] == [False, False, True, True]
    assert trained[0][0] == trained[2][0] != trained[1][0] == trained[3][0]
    assert len(list(runs.glob('*/run.json'))) == 2


def test_changed_photos_are_said_and_trained_on_anew(tmp_path, pets):
    shutil.copytree(pets, tmp_path/'photos')
    first = catdog('train', *start_settings(tmp_path/'photos', tmp_path/'runs'))
    assert first.returncode == 0, first.stderr
    before = json.loads((tmp_path/'runs'/first.stdout.strip().split('/')[-1]/'run.json').read_text())
    cats = sorted((tmp_path/'photos'/'cat').iterdir())
    cats[0].unlink()
    cats[1].rename(tmp_path/'photos'/'dog'/cats[1].name)
    done = catdog('train', *start_settings(tmp_path/'photos', tmp_path/'runs'))
    assert done.returncode == 0, done.stderr
    assert '1 removed and 1 relabelled' in done.stderr and 'a new run' in done.stderr
    assert done.stdout.strip() != first.stdout.strip()
    assert json.loads((tmp_path/'runs'/first.stdout.strip().split('/')[-1]/'run.json').read_text()) == before, 'the earlier run is left as it was'


def test_second_command_waits(tmp_path, pets):
    "Both end well, one training is made, and the second says whom it waits for"
    command = [str(x) for x in (BIN/'catdog', 'train', *options({**TINY, 'epochs': 30, 'data': pets, 'runs': tmp_path/'runs'}))]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    errors = [error for _, error in said]
    assert sum('epoch 30/30' in error for error in errors) == 1, errors
    assert sum('is at work on' in error and 'waiting for it' in error for error in errors) == 1, errors
