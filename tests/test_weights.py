"""Weights as people have them: files of every maker, folders, packages, the Hub's names; what cannot be used is refused by name."""
import argparse
import json
import warnings

import pytest
import timm
import torch
from conftest import TINY, catdog, options
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.vision.learner import TimmBody, create_head
from safetensors.torch import save, save_file
from timm.models import save_for_hf
from torch import nn

from catdog.errors import ConfigError
from catdog.models.backbone import build_model, load_model, save_model
from catdog.models.weights import PACKAGED, packaged_file
from catdog.photos.preprocessing import Preprocessing
from catdog.training.config import make_config

ARCH = 'test_resnet'


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(3)
    return timm.create_model(ARCH, num_classes=7)


def prefixed(network, prefix): return {f'{prefix}{name}': value for name, value in network.state_dict().items()}


def has_weights_of(model, network):
    "Whether all but the last layer is the same"
    mine, theirs = model.state_dict(), network.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in theirs if not name.startswith('fc.'))


def with_average(network):
    "What timm's trainer keeps with --model-ema: the average is what it would test"
    zeros = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    return dict(state_dict=zeros, state_dict_ema=network.state_dict(), args=argparse.Namespace(model=ARCH))


WRAPPINGS = {
    'last.pth.tar': lambda n: dict(epoch=1, arch=ARCH, state_dict=n.state_dict(), optimizer=dict(state={}), args=argparse.Namespace(lr=.1)),
    'average.pth.tar': with_average,
    'lightning.ckpt': lambda n: {'epoch': 1, 'state_dict': prefixed(n, 'model.'), 'pytorch-lightning_version': '2.5'},
    'timm_model.ckpt': lambda n: dict(state_dict=prefixed(n, 'timm_model.')),
    'parallel.pth': lambda n: prefixed(n, 'module.'),
    'compiled.pt': lambda n: dict(model=prefixed(n, '_orig_mod.')),
    'counted.pth': lambda n: dict(epoch=torch.tensor(3), state_dict=n.state_dict()),
    'of-a-name-of-its-own.pth': lambda n: dict(backbone_weights=n.state_dict(), step=torch.tensor(7), log=dict(loss=.3)),
    'PLAIN.PTH': lambda n: n.state_dict(),
    'twice.bin': lambda n: dict(model_state_dict=prefixed(n, 'module.backbone.'))}


@pytest.mark.parametrize('name', WRAPPINGS)
def test_every_wrapping(network, tmp_path, name):
    torch.save(WRAPPINGS[name](network), tmp_path/name)
    assert make_config(arch=ARCH, weights=str(tmp_path/name)).weights == str(tmp_path/name)
    model, _, record = build_model(ARCH, 2, str(tmp_path/name), 64)
    assert has_weights_of(model, network) and (record.used, record.source) == ('file', name) and len(record.sha256) == 64


def test_several_networks_in_one_file_are_named(network, tmp_path):
    torch.save(dict(student=network.state_dict(), teacher=network.state_dict()), tmp_path/'both.pth')
    with pytest.raises(ConfigError, match="several networks .'student' and 'teacher'"): build_model(ARCH, 2, str(tmp_path/'both.pth'), 64)


def test_a_learner_saved_by_fastai(network, tmp_path):
    body = nn.Sequential(TimmBody(timm.create_model(ARCH, num_classes=0, global_pool='')), create_head(128, 2))
    body[0].model.load_state_dict(network.state_dict(), strict=False)
    data = [(torch.zeros(3, 32, 32), 0)]*2
    learn = Learner(DataLoaders.from_dsets(data, data, bs=2, device='cpu'), body, loss_func=nn.CrossEntropyLoss(), path=tmp_path)
    learn.save('stage-1', with_opt=False)
    model, *_ = build_model(ARCH, 2, str(tmp_path/'models'/'stage-1.pth'), 64)
    assert has_weights_of(model, network)


def test_a_folder_by_arch(network, tmp_path):
    torch.save(network.state_dict(), tmp_path/f'{ARCH}.pth')
    (tmp_path/'notes.txt').write_text('mine')
    assert has_weights_of(build_model(f'{ARCH}.r160_in1k', 2, str(tmp_path), 64)[0], network)
    with pytest.warns(UserWarning, match=f'no pretrained weights for resnet10t .*has weights for {ARCH} only'):
        assert build_model('resnet10t', 2, str(tmp_path), 64)[2].used == 'none'
    (tmp_path/f'{ARCH}.pth').unlink()
    with pytest.raises(ConfigError, match='is a folder without weights'): make_config(arch=ARCH, weights=str(tmp_path))


def test_a_runs_folder(network, tmp_path):
    save_model(tmp_path/'model.safetensors', network, ARCH, list('abcdefg'), Preprocessing(64))
    assert has_weights_of(build_model(ARCH, 2, str(tmp_path/'model.safetensors'), 64)[0], network)
    assert has_weights_of(build_model(ARCH, 2, str(tmp_path), 64)[0], network)


def test_a_name_of_the_hub_is_read_from_its_cache(network, tmp_path, monkeypatch):
    "The cache as huggingface_hub lays it out; the environment of the tests is offline"
    from huggingface_hub import constants
    repository = tmp_path/'models--someone--net'
    (repository/'refs').mkdir(parents=True)
    (repository/'refs'/'main').write_text('0'*40)
    config = dict(pretrained_cfg=dict(mean=[0, 0, 0], std=[1, 1, 1]))
    save_for_hf(network, repository/'snapshots'/('0'*40), model_config=config, safe_serialization=True)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    model, shape, record = build_model(ARCH, 2, 'hf_hub:someone/net', 64)
    assert has_weights_of(model, network) and shape.mean == (0, 0, 0) and record.source == 'hf_hub:someone/net'
    with pytest.raises(ConfigError, match='cannot be had from the Hugging Face Hub'): build_model(ARCH, 2, 'hf_hub:someone/other', 64)


@pytest.mark.parametrize('arch', PACKAGED)
def test_packages(arch):
    if not packaged_file(arch): pytest.skip(f'{PACKAGED[arch]} is not installed')
    model, shape, record = build_model(arch, 2, 'auto', 96)
    assert (record.used, record.source) == ('imagenet', PACKAGED[arch]) and shape.mean == (.5, .5, .5)
    with torch.no_grad(): spread = model(torch.randn(8, 3, 96, 96)).std()
    assert spread.isfinite() and spread > 0


@pytest.mark.parametrize('settings, message', [
    (dict(arch='resnet18.a9_in1k'), "has no weights tagged 'a9_in1k'"),
    (dict(arch='hf_hub:timm/resnet18'), 'is an address'),
    (dict(weights='weights.zip'), "is none of 'auto'"),
    (dict(weights='hf_hub:onlyname'), "is none of 'auto'")])
def test_refused_before_photos_are_read(settings, message):
    done = catdog('train', *options({**TINY, 'data': 'no/such/folder', **settings}))
    assert done.returncode == 2 and message in ' '.join(done.stderr.split())


def broken(network, number):
    "A state of the network with one number that is none"
    state = {name: value.clone() for name, value in network.state_dict().items()}
    next(value for value in state.values() if value.is_floating_point()).view(-1)[0] = number
    return state


@pytest.mark.parametrize('number', [float('nan'), float('-inf')])
def test_numbers_that_are_none_are_refused(network, tmp_path, number):
    state = broken(network, number)
    save_file(state, tmp_path/'broken.safetensors')
    with pytest.raises(ConfigError, match='hold NaN or infinite numbers'): build_model(ARCH, 7, str(tmp_path/'broken.safetensors'), 64)
    about = dict(format=1, arch=ARCH, classes=list('abcdefg'), preprocessing=Preprocessing(64).to_dict())
    (tmp_path/'model.safetensors').write_bytes(save(state, dict(catdog=json.dumps(about))))
    with pytest.raises(ValueError, match='holds NaN or infinite numbers'): load_model(tmp_path/'model.safetensors')


GOOD = dict(format=1, arch=ARCH, classes=list('abcdefg'), preprocessing=dict(size=64))
CHANGES = [
    dict(format=2), dict(arch=3), dict(arch='no_such_net'), dict(arch='hf-hub:someone/net'), dict(arch='resnet18'), dict(classes=[]),
    dict(classes={'a': 1}), dict(classes='ab'), dict(classes=None), dict(preprocessing=[]), dict(preprocessing=None),
    dict(preprocessing=dict(size='large')), dict(preprocessing=dict(side=64))]
METADATA = [None, 'no JSON', '[]', 'null', '3', '"text"', '{}', *(json.dumps({**GOOD, **change}) for change in CHANGES)]


@pytest.mark.parametrize('text', METADATA)
def test_metadata_of_another_make(network, tmp_path, text):
    (tmp_path/'model.safetensors').write_bytes(save(network.state_dict(), None if text is None else dict(catdog=text)))
    with warnings.catch_warnings(), pytest.raises(ValueError, match='model.safetensors') as error:
        warnings.simplefilter('error')
        load_model(tmp_path/'model.safetensors')
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize('how', ['cut', 'emptied', 'flipped'])
def test_a_damaged_model_is_a_value_error(network, tmp_path, how):
    save_model(tmp_path/'model.safetensors', network, ARCH, list('abcdefg'), Preprocessing(64))
    data = bytearray((tmp_path/'model.safetensors').read_bytes())
    data[2] ^= 255
    damaged = dict(cut=bytes(data[:-9]), emptied=b'', flipped=bytes(data))[how]
    (tmp_path/'model.safetensors').write_bytes(damaged)
    with pytest.raises(ValueError, match='cannot be read as a model') as error: load_model(tmp_path/'model.safetensors')
    assert len(str(error.value).splitlines()) == 1
