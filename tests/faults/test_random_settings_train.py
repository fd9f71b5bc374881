"Settings drawn at random: each is trained to its end or refused in one line, and the command and papermill give one answer."
import json
import os
import random
import sys

import pytest
from conftest import ROOT, TINY, catdog, options, parameters, run

LONG = os.environ.get('CATDOG_FAULTS') == 'long'
FIRST, DRAWS = int(os.environ.get('CATDOG_FIRST', 0)), int(os.environ.get('CATDOG_DRAWS', 40 if LONG else 0))

ARCHS = ['test_resnet', 'test_vit', 'test_convnext', 'test_efficientnet', 'test_nfnet', 'test_byobnet', 'test_mambaout', 'baseline']
OPTIMIZERS = ['sgd', 'lion', 'adamp', 'lamb', 'nadamw', 'rmsprop', 'muon', 'lookahead_adamw', 'adafactor', 'kron', 'adopt']
VALUES = dict(   # What a person may give, ends of ranges among it; None leaves a field alone
    arch=ARCHS, recipe=['auto', 'frozen', 'finetune', 'full'], image_size=[32, 33, 48, 64, 100], first_image_size=[None, 32, 64],
    train_photos=[None, 2, 3, 17, 33, 40], group=[None, r'(\w+)\.\d\d?', r'(.+)'], near_copies=[True, False],
    mean=[None, '0.5', '0.1,0.2,0.3', 0], std=[None, '1', '0.000001', '0.2,0.3,0.4'],
    epochs=[1, 2], batch_size=[2, 3, 7, 16, 31, 4096, 'auto'], accumulate=[1, 2, 1024], optimizer=['adamw', *OPTIMIZERS],
    lr=[None, 1e-9, .001, 1, 10], weight_decay=[0, .05, 1], schedule=['one_cycle', 'cosine'], warm_up=[0, .25, .99],
    stem_lr_ratio=[1e-6, .1, 1], layer_decay=[None, .01, 1], unfreeze=['all', 'gradual'], norms=['auto', 'frozen', 'batch'],
    clip=['none', 1e-6, 1, 1000], label_smoothing=[None, 0, .1, .99], balance=['none', 'weights', 'sampler'],
    augmentation=['auto', 'none', 'light', 'strong', 'randaugment'], flips=['horizontal', 'both', 'none'], rotate=[0, 10, 180],
    least_crop=[None, .001, 1], mixup=[0, .2, 10], cutmix=[0, 1, 10], erasing=[0, .5, 1], ema=[None, .001, .999],
    keep=['best', 'last'],
    wise_ft=['none', .5, .999], patience=[None, 1], fc_layers=[False, True],
    model_args=[None, 'drop_rate=0.5', 'drop_path_rate=0.1', 'x=1'],
    tta=[False, True], precision=['fp32', 'bf16', 'fp16'], deterministic=[False, True], valid_fraction=[.01, .1, .5, .89],
    test_fraction=[.01, .2, .5, .89], split_seed=[0, 42], folds=[None, 2, 5, 30, 100], fold=[0, 1], seed=[0, 2**31-1],
    processes=[1, 2], checkpoint_minutes=[1e-3, 5], teacher_share=[.5, 1])


def drawn(number):
    "A few fields of a run, each with a value of the table"
    rng = random.Random(number)
    names = rng.sample(sorted(VALUES), rng.randint(4, 9))
    values = {**{**TINY, 'weights': 'none', 'device': 'cpu'}, **{name: rng.choice(VALUES[name]) for name in names}}
    return {name: value for name, value in values.items() if value is not None}


def by_command(values):
    "Options as a person types them, a switch by its name alone"
    plain = {name: value for name, value in values.items() if not isinstance(value, bool)}
    switches = [f"--{'' if value else 'no-'}{name.replace('_', '-')}" for name, value in values.items() if isinstance(value, bool)]
    return catdog('train', *options(plain), *switches)


def by_papermill(values, out):
    return run(sys.executable, '-m', 'papermill', ROOT/'nbs'/'train.ipynb', out, '-k', 'python3', *parameters(values))


def outcome(done, runs):
    "What a run reached, or the line that refuses it"
    records = list(runs.glob('*/run.json'))
    if done.returncode == 0:
        record = json.loads(records[0].read_text())
        return record['status'], records[0].parent.name, record['metrics']
    said = [line for line in done.stderr.splitlines() if line.startswith('catdog: ') or 'Error: ' in line]
    return 'refused', said[-1].partition(': ')[2] if said else done.stderr[-500:]


@pytest.mark.parametrize('number', range(FIRST, FIRST+DRAWS))
def test_any_settings_end_or_are_refused_alike(number, pets, tmp_path):
    values = drawn(number)
    first = by_command({**values, 'data': pets, 'runs': tmp_path/'command'})
    again = by_papermill({**values, 'data': pets, 'runs': tmp_path/'papermill'}, tmp_path/'out.ipynb')
    assert 'Traceback' not in first.stderr and first.returncode in (0, 2), (values, first.stderr[-2000:])
    said = [line for line in first.stderr.splitlines() if line.startswith('catdog: ')]
    assert first.returncode == 0 or len(said) == 1, (values, first.stderr[-2000:])
    ours, theirs = outcome(first, tmp_path/'command'), outcome(again, tmp_path/'papermill')
    assert ours[0] == theirs[0], (values, ours, theirs)
    if ours[0] == 'refused': assert ours[1] == theirs[1], (values, ours, theirs)
    else: assert ours[1] == theirs[1] and ours[2]['log_loss'] == pytest.approx(theirs[2]['log_loss'], abs=1e-6), (values, ours, theirs)
