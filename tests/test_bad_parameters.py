"""A wrong parameter ends a papermill run before anything is trained, with a message that names it and what would do."""
import time

import pytest
from conftest import BIN, ROOT, parameters, run

CASES = {
    'a mistyped name': (dict(archh='resnet18'), ["no parameter 'archh'", "'arch'"]),
    'a mistyped backbone': (dict(arch='convnxt_tiny'), ["arch = 'convnxt_tiny'", "'convnext_tiny'"]),
    'a negative number': (dict(epochs=-3), ['epochs = -3', 'greater than or equal to 1']),
    'text for a number': (dict(lr='fast'), ["lr = 'fast'", 'number']),
    'text for a switch': (dict(rerun='perhaps'), ["rerun = 'perhaps'", 'true or false']),
    'a choice that is none': (dict(recipe='finetun'), ["recipe = 'finetun'", "'finetune'"]),
    'a parameter of another tool': (dict(pretrained='false'), ["no parameter 'pretrained'"]),
    'weights that are no file': (dict(weights='none/such.safetensors'), ["weights = 'none/such.safetensors'", 'no file']),
}


@pytest.mark.parametrize('case', CASES)
def test_bad_parameter_is_named(tmp_path, case):
    settings, expected = CASES[case]
    start = time.monotonic()
    done = run(BIN/'papermill', ROOT/'nbs'/'train.ipynb', tmp_path/'out.ipynb', *parameters({**settings, 'runs': tmp_path/'runs'}))
    assert done.returncode != 0
    for text in expected: assert text in done.stderr
    assert not (tmp_path/'runs').exists(), 'something was started'
    assert time.monotonic()-start < 60


def test_data_that_is_not_there(tmp_path, pets):
    settings = dict(arch='test_resnet', data=f'{pets}s', runs=tmp_path/'runs')
    done = run(BIN/'papermill', ROOT/'nbs'/'train.ipynb', tmp_path/'out.ipynb', *parameters(settings))
    assert done.returncode != 0 and f"did you mean '{pets}'?" in done.stderr and not (tmp_path/'runs').exists()


def test_class_folder_without_photos(tmp_path):
    for name in ('cat', 'dog'): (tmp_path/'data'/name).mkdir(parents=True)
    (tmp_path/'data'/'cat'/'notes.txt').write_text('no photo')
    settings = dict(arch='test_resnet', data=tmp_path/'data', runs=tmp_path/'runs')
    done = run(BIN/'papermill', ROOT/'nbs'/'train.ipynb', tmp_path/'out.ipynb', *parameters(settings))
    assert done.returncode != 0 and 'holds no photos' in done.stderr and str(tmp_path/'data'/'cat') in done.stderr
