"""What breaks on a GPU, on Apple's or on several is seen on a CPU: by turned networks, made-up devices, and counts that do not divide."""
import copy
import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY, catdog, options
from safetensors.torch import load_file

FAMILIES = ['mobilenetv3_small_050', 'tf_efficientnet_lite0', 'efficientnetv2_rw_t', 'mobilenetv4_conv_small', 'regnety_002', 'densenet121',
    'resnet18', 'vgg11_bn', 'convnext_atto']


@pytest.mark.parametrize('arch', FAMILIES)
def test_norms_of_several_processes_compute_the_same(arch):
    import timm
    from catdog.training.processes import share_norms
    torch.manual_seed(0)
    model = timm.create_model(arch, num_classes=2).eval()
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d): norm.running_var.uniform_(.5, 2)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad(): before, after = model(images), share_norms(copy.deepcopy(model)).eval()(images)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5*float(before.abs().max()))


@pytest.mark.parametrize('how', [dict(), dict(flips='both', rotate=10.), dict(flips='none', jitter=0.)])
def test_views_are_made_on_a_card_without_waiting_for_it(how):
    "Seen on torch's device that holds no values: whoever asks for one, as a processor that waits would, gets an error"
    from catdog.batches.augment import Augmentation, cut_boxes, device_views, draw_numbers, plan_views, resize_boxes, view_changes
    from catdog.photos.preprocessing import Preprocessing
    shape, how, photos = Preprocessing(32), Augmentation(**how), [np.zeros((60, 50, 3), np.uint8), np.zeros((40, 80, 3), np.uint8)]
    plan = plan_views([photo.shape[:2] for photo in photos], shape, draw_numbers(0, 0, range(2)), how)
    pixels, places, changes = sent = [part.to('meta') for part in (*cut_boxes(photos, plan.boxes), view_changes(plan))]
    views = device_views(*sent, plan.largest, shape, how)
    assert views.shape == (2, 3, 32, 32) and views.dtype == torch.float32
    sides = plan.boxes[:, 2:]-plan.boxes[:, :2]
    assert sum(part.nbytes for part in sent) == 3*sides.prod(1).sum()+2*72
    with pytest.raises(RuntimeError): resize_boxes(pixels, places[:, 0], places[:, 1], places[:, 2:], 32)   # which asks how large boxes are


def given_sides(pets, folder, **counts):
    "The drawn photos as folders that give so many photos a side"
    photos = sorted(pets.rglob('*.jpg'), key=lambda p: (p.name.split('.')[-2], p))
    for side, n in counts.items():
        for photo in (photos.pop(0) for _ in range(n)):
            (folder/side/photo.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, folder/side/photo.parent.name)
    return folder


@pytest.mark.parametrize('train, valid', [(25, 17)])
def test_two_processes_end_whatever_the_counts(tmp_path, pets, train, valid):
    data = given_sides(pets, tmp_path/'data', train=train, valid=valid, test=8)
    settings = {**TINY, 'data': data, 'runs': tmp_path/'runs', 'batch_size': 8, 'processes': 2}
    done = catdog('train', *options(settings))
    assert done.returncode == 0, done.stderr
    [record] = (json.loads(path.read_text()) for path in (tmp_path/'runs').glob('*/run.json'))
    assert record['catalogue']['photos']['valid/cat']+record['catalogue']['photos']['valid/dog'] == valid


def train_quickly(data, runs, **settings):
    "A run, trained but not evaluated"
    from catdog.photos.catalogue import make_catalogue
    from catdog.training.config import make_config
    from catdog.training.finetune import fit, prepare
    training = prepare(make_config(**{**TINY, 'data': str(data), 'runs': str(runs), **settings}), make_catalogue(data), progress=False)
    with training.learner.no_bar(), training.learner.no_logging(): return fit(training)


def test_two_processes_unfreeze_stage_by_stage(tmp_path, pets):
    weights = train_quickly(pets, tmp_path/'start').folder/'model.safetensors'
    settings = dict(epochs=3, unfreeze='gradual', weights=str(weights), wise_ft='none')
    one, two = (train_quickly(pets, tmp_path/str(processes), processes=processes, **settings) for processes in (1, 2))
    pd.testing.assert_frame_equal(one.history, two.history, rtol=1e-3)


@pytest.mark.parametrize('arch', ['test_efficientnet'])
def test_two_processes_share_the_statistics_of_norms(tmp_path, pets, arch):
    one, two = (train_quickly(pets, tmp_path/str(n), arch=arch, processes=n, epochs=2, optimizer='sgd', lr=.02) for n in (1, 2))
    pd.testing.assert_frame_equal(one.history, two.history, rtol=2e-3)
    weights = [load_file(run.folder/'model.safetensors') for run in (one, two)]
    for name in (name for name in weights[0] if 'running' in name):
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4)


def test_optimizer_goes_on_where_its_weights_are():
    "A fused step wants its count of steps on the weights' device; 'meta' stands in for a GPU"
    from catdog.training.checkpoint import optimizer_state, restore_optimizer
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=.1)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    elsewhere = torch.optim.AdamW(torch.nn.Linear(3, 2, device='meta').parameters(), lr=.1)
    for group in elsewhere.param_groups: group['fused'] = True
    restore_optimizer(elsewhere, *optimizer_state(optimizer))
    assert {value.device.type for state in elsewhere.state.values() for value in state.values()} == {'meta'}


class NoFloat64(torch.utils._python_dispatch.TorchDispatchMode):
    "Apple's GPU has no float64; 'meta' stands in for it"
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else [out]:
            if torch.is_tensor(value) and value.is_meta: assert value.dtype != torch.float64, f'{func} makes float64'
        return out


def test_history_needs_no_float64_on_the_device(tmp_path):
    from types import SimpleNamespace
    from catdog.training.history import History
    history, device = History(tmp_path), torch.device('meta')
    logits, labels, loss = torch.zeros(4, 2, device=device), torch.zeros(4, dtype=torch.long, device=device), torch.zeros((), device=device)
    history.learn = SimpleNamespace(training=True, yb=(labels,), loss=loss, pred=logits)
    with NoFloat64():
        history.before_train()
        history.after_loss()
        history.before_validate()
        history.learn.training = False
        history.after_loss()


def test_a_card_without_kernels_is_passed_over(monkeypatch):
    "This torch has no CUDA at all, so a card that it believes in cannot compute"
    from catdog.device import pick_device
    if torch.cuda.is_available(): pytest.skip('the card here computes')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.warns(UserWarning, match='cannot compute on it'): assert pick_device('auto').type == 'cpu'


def test_the_runs_own_device_decides_how_processes_talk(monkeypatch):
    from catdog.training.processes import ShareBatches
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert ShareBatches(torch.device('cpu')).accelerator.device.type == 'cpu'


def start_node(number, port, settings, cache):
    "torch's launcher as one of two machines would start it"
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--nnodes', 2, '--node-rank', number, '--nproc-per-node', 1,
        '--master-addr', '127.0.0.1', '--master-port', port, '-m', 'catdog.training.finetune']
    command = [str(part) for part in [*launcher, *(f'{name}={value}' for name, value in settings.items())]]
    env = {**os.environ, 'CATDOG_CACHE': str(cache), 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_machines_train_one_run(tmp_path, pets):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    settings = {**TINY, 'data': pets, 'runs': tmp_path/'shared', 'batch_size': 8, 'epochs': 2}
    nodes = [start_node(number, port, settings, tmp_path/f'cache {number}') for number in (0, 1)]
    try: said = [node.communicate(timeout=150)[0] for node in nodes]
    finally:
        for node in nodes: node.kill()
    assert [node.returncode for node in nodes] == [0, 0], said
    assert all(list((tmp_path/f'cache {number}').iterdir()) for number in (0, 1))   # each machine packed its photos
    done = catdog('train', *options(settings))
    assert done.returncode == 0 and 'trained' not in done.stderr, done.stderr
    [record] = (json.loads(path.read_text()) for path in (tmp_path/'shared').glob('*/run.json'))
    assert record['status'] == 'finished' and record['config']['processes'] == 2
    together = pd.read_csv(next((tmp_path/'shared').glob('*/history.csv')))
    alone = train_quickly(pets, tmp_path/'alone', batch_size=8, epochs=2).history
    pd.testing.assert_frame_equal(together, alone, rtol=1e-3)


def test_doctor_finds_nothing_wrong():
    done = catdog('doctor', '--json', '--device', 'cpu')
    found = json.loads(done.stdout)
    assert done.returncode == 0 and not [check for check in found['findings'] if check['state'] == 'failed'], done.stdout
    assert {check['check'] for check in found['findings'] if check['state'] == 'ok'} >= {'fused step', 'resume', 'processes', 'export'}


def test_choice_by_what_runs_cost_on_a_card(tmp_path):
    from catdog.comparison.example import write_example_run
    for arch, ms, memory in (('small', 2., 90.), ('large', 3., 900.)):
        card = dict(cost=dict(device='cuda (a card)', latency_ms=ms, images_per_second=1000., peak_memory_mb=memory))
        for seed in (0, 1): write_example_run(tmp_path, arch, seed, .97, latency_ms=40., costs_elsewhere={'the server': card})
    roomy, tight = (json.loads(catdog('choose', tmp_path, '--on', 'gpu', '--max-gpu-mb', most, '--json').stdout) for most in (1000, 100))
    found = {row['setup']: row for row in tight['candidates']}
    assert [row['latency'] for row in roomy['candidates']] == [2., 3.] and roomy['chosen'] == 'small'
    assert found['large']['over'] == ['card memory'] and found['small']['within_budget']
    write_example_run(tmp_path, 'unmeasured', 0, .97)
    done = catdog('choose', tmp_path, '--on', 'gpu')
    assert done.returncode == 2 and 'unmeasured was not measured on a GPU' in done.stderr
