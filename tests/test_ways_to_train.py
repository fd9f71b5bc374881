"""Settings of how a network is built, varied and taught do what they say, are part of the run, and change nothing where left alone."""
import numpy as np
import pytest
from conftest import TINY, catdog

from catdog.errors import ConfigError
from catdog.photos.catalogue import catalogue_for
from catdog.training.config import make_config
from catdog.training.finetune import fit, load_teacher, prepare
from catdog.training.recipes import FAMILIES, OTHERS, family_of, resolve
from catdog.training.run import run_name

LATER = dict(model_args='drop_path_rate=0.1', rotate=15, flips='both', least_crop=.5, teacher_share=.7, teacher_temp=4)


def ready(pets, runs, **settings):
    config = make_config(**{**TINY, 'data': str(pets), 'runs': str(runs), **settings})
    return prepare(config, catalogue_for(config), progress=False)


def train(pets, runs, **settings):
    training = ready(pets, runs, **settings)
    with training.learner.no_bar(), training.learner.no_logging(): return fit(training)


@pytest.mark.parametrize('name, value', LATER.items())
def test_a_setting_is_in_the_name_only_where_it_is_used(name, value):
    default = make_config(arch='test_resnet').model_dump()[name]
    plain, same, other = (run_name(make_config(arch='test_resnet', **settings)) for settings in ({}, {name: default}, {name: value}))
    assert plain == same != other


def test_model_args_in_any_order_are_one_run():
    texts = 'drop_rate=0.1,act_layer=gelu', 'act_layer=gelu, drop_rate=.1'
    names = {run_name(make_config(arch='test_resnet', model_args=text)) for text in texts}
    assert len(names) == 1


REFUSED = {'drop_pth_rate=0.1': 'drop_path_rate', 'drop_path_rate': 'NAME=VALUE', 'drop_path_rate=1.5': 'no rate',
    'num_classes=3': 'no argument', 'pretrained=true': 'no argument', 'act_layer=geluu': 'cannot be used',
    'drop_rate=nan': 'no finite number', 'drop_rate=0.1,drop_rate=0.2': 'twice'}


@pytest.mark.parametrize('text, said', REFUSED.items())
def test_model_args_are_checked_by_name(text, said):
    with pytest.raises(ConfigError, match=said) as error: make_config(arch='test_resnet', model_args=text)
    assert 'model_args' in str(error.value) and '\n' not in str(error.value)


def test_what_is_saved_and_exported_is_the_network_that_was_trained(pets, tmp_path):
    from catdog.deploy.predict import Artefact, read_photo
    from catdog.evaluation.evaluate import evaluate_run
    from catdog.models.backbone import load_model
    training = ready(pets, tmp_path, model_args='drop_path_rate=0.1,act_layer=gelu')
    with training.learner.no_bar(), training.learner.no_logging(): run = fit(training)
    evaluate_run(training)
    assert load_model(run.folder/'model.safetensors')[0].made_with == dict(act_layer='gelu', drop_path_rate=.1)
    assert run.info['config']['model_args'] == 'act_layer=gelu,drop_path_rate=0.1' and run.info['cost']['macs'] > 0
    tested = run.predictions.iloc[0]
    path = training.catalogue.path[training.catalogue.sha256 == tested.sha256].iloc[0]
    said = Artefact(run.folder/'model.onnx').predict(read_photo(path))
    assert np.allclose([said[name] for name in ('cat', 'dog')], [tested.p_cat, tested.p_dog], atol=5e-3)


def test_features_of_networks_that_answer_otherwise_are_kept_apart():
    from catdog.models.backbone import backbone_hash, build_model
    def built(**model_args):
        import torch
        torch.manual_seed(0)
        return backbone_hash(build_model('test_resnet', 2, 'none', 32, model_args=model_args)[0])
    assert built() == built(drop_path_rate=.3) != built(act_layer='gelu')


@pytest.mark.parametrize('name, value', [('rotate', 30), ('flips', 'both'), ('least_crop', .9)])
def test_views_differ_by_the_setting_and_by_nothing_else(pets, tmp_path, name, value):
    plain, varied, again = (ready(pets, tmp_path, **settings).dls.train.one_batch()[0] for settings in ({}, {name: value}, {name: value}))
    assert varied.equal(again) and not varied.equal(plain)


def test_a_teacher_of_other_classes_or_one_that_saw_the_test_photos(pets, tmp_path):
    teacher, catalogue = train(pets, tmp_path), catalogue_for(make_config(data=str(pets)))
    def load(catalogue):
        config = make_config(**{**TINY, 'data': str(pets), 'teacher': str(teacher.folder)})
        return load_teacher(config, catalogue, ready(pets, tmp_path).shape, 'cpu')
    with pytest.raises(ConfigError, match='knows cat and dog, and the photos here are of dog and lion'):
        load(catalogue.assign(label=catalogue.label.replace('cat', 'lion')))
    with pytest.warns(UserWarning, match='test photos taught the teacher .*flatters'):
        load(catalogue.assign(split=catalogue.split.map({'train': 'test', 'test': 'train'}).fillna('valid')))
    answer, about = load(catalogue)
    assert about['arch'] == 'test_resnet'
    student = make_config(**{**TINY, 'data': str(pets), 'teacher': str(teacher.folder)})
    assert run_name(student) != run_name(make_config(**{**TINY, 'data': str(pets)}))
    moved = teacher.folder.rename(tmp_path/'moved')
    assert run_name(student.model_copy(update=dict(teacher=str(moved)))) != run_name(student)   # the path alone is known no more
    assert run_name(make_config(**{**student.model_dump(), 'teacher': str(moved)})) == teacher_name(student, moved)


def teacher_name(student, folder):
    return run_name(student.model_copy(update=dict(teacher=str(folder))))


MISSION = {'convnext_tiny': 'ConvNeXt', 'convnextv2_nano': 'ConvNeXt', 'mobilenetv3_small_100': 'MobileNet, EfficientNet',
    'mobilenetv2_100': 'MobileNet, EfficientNet', 'tf_efficientnet_lite0': 'MobileNet, EfficientNet', 'resnet50.a1_in1k': 'ResNet',
    'resnetv2_50': 'ResNet', 'regnety_004': 'ResNet', 'vgg16_bn': 'VGG', 'vit_small_patch16_224': 'ViT, Swin',
    'swin_tiny_patch4_window7_224': 'ViT, Swin', 'deit_tiny_patch16_224': 'ViT, Swin'}


@pytest.mark.parametrize('arch, family', MISSION.items())
def test_every_family_starts_from_its_own_settings(arch, family):
    config, row = make_config(_check_arch=False, arch=arch), FAMILIES[family]
    _, resolved = resolve(config, 'file')
    assert family_of(arch) == row and (resolved['lr'], resolved['layer_decay']) == (row.lr, row.layer_decay)
    given = resolve(config.model_copy(update=dict(lr=2e-3, layer_decay=.5)), 'file')[1]
    assert (given['lr'], given['layer_decay']) == (2e-3, .5)
    assert resolve(config, 'none')[1]['layer_decay'] is None      # from scratch all layers learn alike


def test_a_family_that_no_row_has_starts_as_before():
    assert family_of('ghostnet_100') == family_of('baseline') == OTHERS


def test_the_finder_draws_and_suggests(pets, tmp_path):
    figure, settings = tmp_path/'shown'/'lr.svg', {**TINY, 'data': pets, 'runs': tmp_path/'runs'}
    options = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", value)]
    done = catdog('lr', *options, '--figure', figure, '--steps', 20)
    assert done.returncode == 0 and 1e-6 < float(done.stdout) < 1 and 'the recipe takes 0.001' in done.stderr, done.stderr
    assert figure.read_text().lstrip().startswith('<?xml') and not (tmp_path/'runs').exists()
    refused = catdog('lr', *options, '--figure', tmp_path/'lr.txt')
    assert refused.returncode == 2 and '.svg, .png or .pdf' in refused.stderr
