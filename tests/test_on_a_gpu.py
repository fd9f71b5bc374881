"""What only a card can show, CUDA's or Apple's; elsewhere these are skipped, and test_right_on_every_device.py has their stand-ins."""
import json

import pandas as pd
import pytest
import torch
from conftest import TINY, catdog, options

CUDA, MPS = torch.cuda.is_available(), torch.backends.mps.is_available()
DEVICE = 'cuda' if CUDA else 'mps'
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not CUDA and not MPS, reason='neither CUDA nor MPS is here')]
only_cuda = pytest.mark.skipif(not CUDA, reason='for CUDA only')


def prepared(data, runs, **settings):
    "A training on the card, ready to begin"
    from catdog.photos.catalogue import catalogue_for
    from catdog.training.config import make_config
    from catdog.training.finetune import prepare
    config = make_config(**{**TINY, 'data': str(data), 'runs': str(runs), 'device': DEVICE, **settings})
    return prepare(config, catalogue_for(config), progress=False)


def trained(*args, **settings):
    "A run on the card, trained and not evaluated"
    from catdog.training.finetune import fit
    training = prepared(*args, **settings)
    with training.learner.no_bar(), training.learner.no_logging(): return fit(training)


@pytest.fixture(scope='module')
def card_runs(tmp_path_factory, pets):
    "A finished run that chose its device by itself, and its folder"
    folder = tmp_path_factory.mktemp('card')
    done = catdog('train', *options({**TINY, 'data': pets, 'runs': folder, 'precision': 'auto', 'batch_size': 'auto', 'epochs': 3}))
    assert done.returncode == 0, done.stdout+done.stderr
    return folder


def test_doctor_finds_nothing_wrong():
    from catdog.doctor import examine
    assert not [str(finding) for finding in examine(DEVICE) if finding.state == 'failed']


def test_a_run_takes_the_card(card_runs):
    [record] = (json.loads(path.read_text()) for path in card_runs.glob('*/run.json'))
    assert record['status'] == 'finished' and record['resolved']['device'].startswith(DEVICE)
    assert record['hardware']['gpus'] if CUDA else record['hardware']['device'] == DEVICE
    assert record['timings']['train_peak_memory_mb'] > 0 or not CUDA
    assert record['metrics']['accuracy'] >= .5


@pytest.mark.parametrize('command', [
    ['evaluate', '--cost'], ['evaluate', '--robustness'], ['evaluate', '--scaling'], ['compare'], ['choose', '--on', 'gpu']])
def test_commands_after_it(card_runs, command, tmp_path):
    [run] = (path.parent for path in card_runs.glob('*/run.json'))
    what = run if command[0] == 'evaluate' else card_runs
    more = ['--out', tmp_path/'report'] if command[0] == 'compare' else []
    done = catdog(command[0], what, *command[1:], *more)
    assert done.returncode in ((0, 2) if command[0] == 'choose' else (0,)), done.stdout+done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'fp16'])
def test_precisions(tmp_path, pets, precision):
    if precision != 'fp32' and not CUDA: pytest.skip('for CUDA only')
    history = trained(pets, tmp_path, precision=precision, epochs=2).history
    assert history.train_loss.between(0, 5).all()


@only_cuda
def test_deterministic_runs_are_equal(tmp_path, pets):
    one, two = (trained(pets, tmp_path/name, deterministic=True, arch='resnet18', epochs=2).history for name in 'ab')
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@only_cuda
def test_photos_on_the_card_or_in_memory_teach_the_same(tmp_path, pets, monkeypatch):
    from catdog.batches import loading
    one = trained(pets, tmp_path/'card', epochs=2).history
    monkeypatch.setattr(loading, '_moves_to_device', lambda *args: False)
    two = trained(pets, tmp_path/'memory', epochs=2).history
    assert (one.train_loss-two.train_loss).abs().max() < .03


@only_cuda
@pytest.mark.parametrize('resident', [True, False])
def test_a_step_waits_for_nothing(tmp_path, pets, monkeypatch, resident):
    from fastai.callback.core import Callback
    from catdog.batches import loading
    monkeypatch.setattr(loading, '_moves_to_device', lambda *args: resident)

    class Watch(Callback):
        "From the second step of the last epoch on, an error where the processor waits for the card"
        run_valid, order = False, -50
        def after_batch(self): torch.cuda.set_sync_debug_mode('error' if self.epoch == 1 and self.iter < self.n_iter-2 else 'default')

    training = prepared(pets, tmp_path, epochs=2, batch_size=4)
    training.learner.add_cb(Watch())
    try:
        from catdog.training.finetune import fit
        with training.learner.no_bar(), training.learner.no_logging(): fit(training)
    finally: torch.cuda.set_sync_debug_mode('default')


@only_cuda
def test_a_batch_that_does_not_fit_gets_smaller(tmp_path, pets):
    big = dict(arch='resnet18', image_size=224, batch_size=32)
    try:
        torch.cuda.set_per_process_memory_fraction(.5*2**30/torch.cuda.get_device_properties(0).total_memory)
        run = trained(pets, tmp_path, **big)
    finally: torch.cuda.set_per_process_memory_fraction(1.)
    assert run.record.resolved.batch_size < 32 and run.record.resolved.accumulate > 1


@only_cuda
def test_more_processes_than_cards_are_refused(tmp_path, pets):
    settings = {**TINY, 'data': pets, 'runs': tmp_path, 'processes': torch.cuda.device_count()+1}
    done = catdog('train', *options(settings))
    assert done.returncode == 2 and 'GPU' in done.stderr and 'Traceback' not in done.stderr
    assert not list(tmp_path.glob('*/run.json'))


def test_compiled_training(tmp_path, pets):
    if not CUDA: pytest.skip('for CUDA only')
    run = trained(pets, tmp_path, compile=True)
    assert run.record.resolved.compiled is True


def test_fine_tuning_from_a_solved_head(tmp_path, pets):
    start = trained(pets, tmp_path/'start')
    run = trained(pets, tmp_path/'tuned', weights=str(start.folder/'model.safetensors'), recipe='finetune', epochs=2)
    assert (run.history.phase == 'train').sum() == 2
