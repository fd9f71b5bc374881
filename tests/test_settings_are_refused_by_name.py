"""Whatever a setting is given, it becomes what it means or is refused in a line that names it; notebook and command say the same."""
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LONG = os.environ.get('CATDOG_FAULTS') == 'long'     # then other values each time, and more of them
ANY = dict(deadline=None, suppress_health_check=list(HealthCheck), derandomize=not LONG)
TEXTS = ['', ' ', 'none', 'None', 'nan', 'inf', '-inf', 'true', '0', '1e400', 'a\0b', 'x'*500, '../../x', '{arch}', '猫',
    "a'b", 'a,b', '0.0', '1e3', '~0']
ODD = [*TEXTS, None, True, False, math.nan, math.inf, -1, 0, 1, 2, 32, 10**30, .5, [], [1, 2], [.5]*3, {}]
REFUSED = dict(std=0, mean='nan', epochs=True, data='', device='meta', optimizer='adahessian', arch='resnet18./../../../evil/x',
    image_size=33.5, clip='inf', group='(')


def fields():
    from catdog.training.config import RunConfig
    return RunConfig.model_fields


def answer(make, **values):
    "What a value becomes, or the line that refuses it"
    from catdog.errors import ConfigError
    try: return make(**values).model_dump(), ''
    except ConfigError as error: return None, str(error)


@settings(max_examples=20_000 if LONG else 300, **ANY)
@given(data=st.data())
def test_any_value_is_taken_or_refused_in_a_line(data):
    from catdog.training.config import make_config
    name = data.draw(st.sampled_from(sorted(fields())))
    value = data.draw(st.one_of(st.sampled_from(ODD), st.integers(), st.floats(), st.text(max_size=30)))
    def quickly(**values): return make_config(_check_arch=False, **values)
    taken, said = answer(quickly, **{name: value})
    if taken is None: assert name in said and len(said) < 700 and 'Traceback' not in said and '\n' not in said, said
    else:
        found = taken[name]
        assert not isinstance(found, float) or math.isfinite(found)
        assert isinstance(found, bool) == (fields()[name].annotation is bool)


SPELLED = [   # A field, ways to give it, and what it becomes; None where each way is refused
    ('epochs', [3, '3', '+3', ' 3 ', 3., '3.0', '3e0', np.int64(3), np.float32(3), torch.tensor(3)], 3),
    ('epochs', [True, 'True', np.bool_(True), '0x3', '3.5', 3.5, [3], [], {}, '', '-3', 10**5000, '9'*400, np.array([3, 4])], None),
    ('lr', ['1e-3', '.001', .001, np.float64(.001)], .001), ('lr', [0, '-0.0', -0., 'nan', True, '1e-3s', [], '1,5'], None),
    ('weight_decay', [0, -0., '-0.0', '0', np.float32(0)], 0.), ('rerun', [True, 'true', 'yes', 1, '1', 'on', np.bool_(True)], True),
    ('rerun', [2, 'maybe', .5, []], None), ('mean', [.5, '.5', [.5], np.float32(.5), [.5]*3, np.full(3, .5), '.5,.5,.5'], (.5, .5, .5)),
    ('mean', [[True]*3, True, [], [.5, .5], 'x', [None]*3, np.zeros((2, 3))], None), ('data', ['x', Path('x')], 'x'),
    ('seed', [2**31, -1, 10**30, '1e400', 1.5], None)]


@pytest.mark.parametrize('name, ways, meant', SPELLED)
def test_a_value_may_be_written_in_several_ways(name, ways, meant):
    from catdog.training.config import make_config
    for way in ways:
        taken, said = answer(lambda **values: make_config(_check_arch=False, **values), **{name: way})
        if meant is None: assert taken is None and said.startswith(f'{name} = ') and len(said) < 300 and '\n' not in said, (way, said)
        else: assert taken and repr(taken[name]) == repr(meant), (way, taken and taken[name], said)


@pytest.mark.parametrize('name, value', REFUSED.items())
def test_notebook_and_command_refuse_alike(name, value):
    from catdog.training.config import config_from_notebook, make_config
    def from_notebook(**values): return config_from_notebook(dict(values, In=[f'# Parameters\n{name} = {value!r}']))
    (taken, said), (also_taken, also_said) = answer(make_config, **{name: value}), answer(from_notebook, **{name: value})
    assert taken is None and also_taken is None and said == also_said and name in said


def test_a_network_that_takes_no_such_pictures_is_refused_before_photos_are_read(tmp_path):
    from catdog.training.config import make_config
    with pytest.raises(ValueError, match='image_size = 64 is too small for inception_v3.*take image_size = 96 or more'):
        make_config(arch='inception_v3', image_size=64, data=str(tmp_path/'nothing'))


@pytest.mark.parametrize('arch', ['resnet18./../../../evil/x', '../../evil', '/etc/x', '...', 'a\\b'])
def test_names_never_become_paths(tmp_path, arch):
    from catdog.training.config import make_config
    from catdog.training.run import open_run
    run = open_run(make_config(_check_arch=False, arch=arch, runs=str(tmp_path/'runs')))
    assert run.folder.parent == tmp_path/'runs' and not run.folder.name.startswith('.') and '/' not in run.folder.name


def test_every_optimizer_that_is_accepted_makes_a_step():
    import timm.optim
    import torch
    from catdog.training.config import check_optimizer
    from catdog.training.optimize import make_optimizer
    accepted = 0
    for name in timm.optim.list_optimizers():
        try: check_optimizer(name)
        except ValueError: continue
        layer = torch.nn.Linear(3, 2)
        before = layer.weight.detach().clone()
        optimizer = make_optimizer([dict(params=list(layer.parameters()), lr=.1, weight_decay=0.)], name)
        for _ in range(3):
            layer(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
        assert not torch.equal(before, layer.weight), name
        accepted += 1
    assert accepted > 20


@settings(max_examples=20_000 if LONG else 250, **ANY)
@given(data=st.data())
def test_papermill_and_the_command_give_one_answer(data):
    "A text after `-p`, which papermill makes a number or a switch of, means what it means after `--`"
    from catdog.training.config import make_config
    from papermill.cli import _resolve_type
    name = data.draw(st.sampled_from(sorted(fields())))
    numbers = st.one_of(st.integers(-9, 9999), st.floats(allow_nan=True), st.floats(0, 1)).map(str)
    text = data.draw(st.one_of(st.sampled_from([value for value in ODD if isinstance(value, str)]), numbers, st.text(max_size=20)))
    resolved = _resolve_type(text)
    if not isinstance(resolved, str) and str(resolved) != text and str in kinds(name): return   # '007', of which papermill leaves 7
    def quickly(value): return answer(lambda **values: make_config(_check_arch=False, **values), **{name: value})
    (taken, said), (also_taken, also_said) = quickly(text), quickly(resolved)
    assert taken == also_taken and (not said) == (not also_said), (text, said, also_said)


def kinds(name):
    from catdog.training.config import _kinds
    return _kinds(fields()[name].annotation)
