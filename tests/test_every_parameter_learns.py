"""No layer is dead weight: after one backward pass every parameter of a network has a gradient."""
import pytest
import torch

FAMILIES = ['baseline', 'convnext_atto', 'mobilenetv3_small_050', 'resnet18', 'vgg11_bn', 'tf_efficientnet_lite0']
OTHERS = ['test_vit', 'test_efficientnet', 'test_byobnet', 'test_convnext', 'mobilenetv4_conv_small', 'regnetx_002', 'densenet121',
          'repvgg_a0', 'ghostnet_050', 'deit_tiny_patch16_224', 'edgenext_xx_small', 'fastvit_t8', 'mobilevit_xxs']


@pytest.mark.parametrize('arch', FAMILIES+OTHERS)
def test_every_parameter_learns(arch):
    from catdog.models.backbone import build_model, pooled_features, stage_groups
    model, shape, _ = build_model(arch, 3, 'none', 96)
    x = torch.randn(2, 3, 96, 96)
    model.train()(x).logsumexp(1).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert sum(len(group) for group in stage_groups(model)) == len(list(model.parameters()))
    model.eval()
    with torch.inference_mode(): torch.testing.assert_close(model.get_classifier()(pooled_features(model, x)), model(x))


def test_two_last_layers_are_refused():
    from catdog.errors import ConfigError
    from catdog.models.backbone import build_model
    with pytest.raises(ConfigError, match='efficientformerv2_s0.*not one last layer'): build_model('efficientformerv2_s0', 3, 'none', 96)


def test_vggs_hidden_layers_come_back_when_asked(tmp_path):
    from catdog.models.backbone import build_model, load_model, save_model
    light, shape, _ = build_model('vgg11', 2, 'none', 64)
    full, _, _ = build_model('vgg11', 2, 'none', 64, fc_layers=True)
    count = lambda model: sum(p.numel() for p in model.parameters())
    assert count(light) < 10e6 and count(full) > 120e6
    save_model(tmp_path/'m.safetensors', full, 'vgg11', ['cat', 'dog'], shape)
    x = torch.randn(1, 3, 64, 64)
    loaded = load_model(tmp_path/'m.safetensors')[0]
    with torch.inference_mode(): torch.testing.assert_close(loaded(x), full.eval()(x))
