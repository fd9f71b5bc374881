"""Several processes train as one: the gradient of a step is that of the whole batch, no photo is counted twice, and none stays behind."""
import json
import signal
import subprocess
import sys

import pandas as pd
import psutil
from conftest import BIN, TINY, catdog, options, run, take_interrupts, words_of

# Batch norms of a share see other statistics than those of the batch, so the comparisons are on a network without
SETTINGS = {**TINY, 'arch': 'test_convnext', 'epochs': 2, 'optimizer': 'sgd', 'lr': .05}

WRITTEN = ['history.csv', 'model.onnx', 'model.safetensors', 'photos.parquet', 'predictions.parquet', 'run.json', 'train.ipynb',
           'valid_predictions.parquet']

GRADIENTS = """
import sys, torch
from catdog.photos.catalogue import make_catalogue
from catdog.training.config import make_config
from catdog.training.processes import ShareBatches, rank, world_size
from catdog.training.finetune import prepare
from fastai.callback.core import Callback, CancelFitException

class Keep(Callback):
    "Write the gradients of the first step and stop"
    order = 90
    def before_step(self):
        if rank() == 0: torch.save({n.removeprefix('module.'): p.grad.clone() for n, p in self.model.named_parameters()}, sys.argv[2])
        raise CancelFitException

data, out = sys.argv[1:]
config = make_config(arch='test_convnext', data=data, weights='none', image_size=48, epochs=1, batch_size=16,
                     precision='fp32', runs=out+'.runs')
training = prepare(config, make_catalogue(config.data), progress=False)
callbacks = [Keep()]
if world_size() > 1: callbacks.append(ShareBatches(training.dls.device))
with training.learner.no_bar(), training.learner.no_logging(): training.learner.fit(1, cbs=callbacks)
"""


def test_gradient_of_a_step_is_that_of_the_whole_batch(tmp_path, pets):
    import torch
    (tmp_path/'step.py').write_text(GRADIENTS)
    alone = run(sys.executable, tmp_path/'step.py', pets, tmp_path/'one.pt')
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    together = run(sys.executable, *launch, tmp_path/'step.py', pets, tmp_path/'two.pt')
    assert alone.returncode == together.returncode == 0, alone.stderr+together.stderr
    one, two = (torch.load(tmp_path/f'{n}.pt', weights_only=True) for n in ('one', 'two'))
    assert one.keys() == two.keys() and max(g.abs().max() for g in one.values()) > 1e-3
    for name in one: torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-6)


def test_two_processes_train_as_one(tmp_path, pets):
    histories, runs = [], []
    for processes in (1, 2):
        done = catdog('train', *options({**SETTINGS, 'data': pets, 'runs': tmp_path/str(processes), 'processes': processes}))
        assert done.returncode == 0, done.stderr
        assert 'epoch 2/2' in done.stderr
        [folder] = (tmp_path/str(processes)).iterdir()
        runs.append(json.loads((folder/'run.json').read_text()))
        histories.append(pd.read_csv(folder/'history.csv'))
        assert sorted(p.name for p in folder.iterdir()) == WRITTEN
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)
    assert [r['metrics']['photos'] for r in runs] == [12, 12] and runs[0]['metrics']['accuracy'] == runs[1]['metrics']['accuracy']


def test_workers_end_with_the_command(tmp_path, pets):
    settings = {**SETTINGS, 'epochs': 5000, 'data': pets, 'runs': tmp_path/'runs', 'processes': 2}
    words = [str(x) for x in (BIN/'catdog', 'train', *options(settings))]
    command = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=take_interrupts)
    for line in command.stderr:
        if 'epoch 2/5000' in line: break
    family = psutil.Process(command.pid).children(recursive=True)
    assert sum('catdog.training.finetune' in words_of(p) for p in family) >= 3   # the launcher and two workers
    command.send_signal(signal.SIGINT)
    assert command.wait(timeout=60) == 130
    command.stderr.close()
    gone, alive = psutil.wait_procs(family, timeout=60)
    for process in alive: process.kill()
    assert not alive


def test_batch_must_be_shared_out_evenly():
    done = catdog('train', '--processes', 3, '--batch-size', 16)
    assert done.returncode == 2 and 'processes = ' in done.stderr and 'does not divide batch_size = 16' in done.stderr
