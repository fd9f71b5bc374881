"""What a person only uses is quick to open: no torch where none is needed, and a model in a file needs four libraries."""
import sys

import pytest
from conftest import BIN, ROOT, run

LEARNING = ('torch', 'timm', 'fastai')
HEAVY = (*LEARNING, 'pandas', 'scipy', 'sklearn', 'matplotlib', 'pyarrow', 'joblib', 'pydantic')
COMPARISON = sorted(path.stem for path in (ROOT/'catdog'/'comparison').glob('[a-z]*.py'))


def loaded(code, names):
    "Which of these modules a fresh process has after running some code"
    tell = f'print(*[name for name in {names!r} if name in sys.modules], file=sys.stderr)'
    done = run(sys.executable, '-c', f'import sys\n{code}\n{tell}')
    assert done.returncode == 0, done.stderr
    return [word for word in done.stderr.split() if word in names]


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    "An exported network and a photo"
    from catdog.deploy.export import export_model
    from catdog.models.backbone import build_model
    from catdog.photos.sample import draw_picture
    folder = tmp_path_factory.mktemp('exported')
    model, shape, _ = build_model('test_resnet', 2, 'none', image_size=48)
    export_model(folder/'model.onnx', model, shape, ['cat', 'dog'])
    draw_picture('cat', 1).save(folder/'cat.jpg')
    return folder


def test_predicting_loads_four_libraries(exported):
    photo = str(exported/'cat.jpg')
    code = f'from catdog.deploy.predict import Predictor\nassert "label" in Predictor({str(exported)!r}).describe({photo!r})'
    assert loaded(code, HEAVY) == []
    assert loaded(code, ('numpy', 'PIL', 'simplejpeg', 'onnxruntime')) == ['numpy', 'PIL', 'simplejpeg', 'onnxruntime']


@pytest.mark.parametrize('name', COMPARISON)
def test_comparing_loads_no_torch(name):
    assert loaded(f'import catdog.comparison.{name}', LEARNING) == []


COMMANDS = [['--help'], ['choose', 'RUNS'], ['compare', '--help'], ['predict', 'MODEL', 'PHOTO'],
    ['predict', 'MODEL', 'PHOTO', '--device', 'auto']]


@pytest.mark.parametrize('arguments', COMMANDS, ids=lambda arguments: arguments[0])
def test_commands_load_no_torch(arguments, runs, exported):
    places = dict(RUNS=str(runs), MODEL=str(exported), PHOTO=str(exported/'cat.jpg'))
    line = ['catdog', *[places.get(word, word) for word in arguments]]
    call = 'try: main()\nexcept SystemExit as end: assert end.code in (None, 0, 3), end.code'
    code = f'from catdog.__main__ import main\nsys.argv = {line!r}\n{call}'
    assert loaded(code, LEARNING) == []


def test_labelling_photos_loads_nothing_of_other_commands(exported):
    line = ['catdog', 'predict', str(exported), str(exported/'cat.jpg'), '--json']
    code = f'from catdog.__main__ import main\nsys.argv = {line!r}\ntry: main()\nexcept SystemExit as end: assert end.code == 0, end.code'
    assert loaded(code, ('typer', 'rich', 'pydantic', *HEAVY)) == []


@pytest.mark.parametrize('model, photo', [('MODEL', 'PHOTO'), ('MODEL', 'no.jpg'), ('nowhere', 'PHOTO')])
def test_a_plain_line_answers_as_any_other(exported, model, photo):
    "With an option that changes nothing, the line is read by what reads all lines"
    places = dict(MODEL=str(exported), PHOTO=str(exported/'cat.jpg'))
    line = [sys.executable, '-m', 'catdog', 'predict', places.get(model, model), places.get(photo, photo)]
    plain, other = run(*line), run(*line, '--batch-size', '16')
    assert (plain.returncode, plain.stdout, plain.stderr) == (other.returncode, other.stdout, other.stderr)
    assert (plain.returncode == 0) == ((model, photo) == ('MODEL', 'PHOTO'))


def test_running_a_model_leaves_nothing_behind(exported, tmp_path):
    "onnxruntime makes an identity for the machine, unless it is told not to"
    environment = {'HOME': str(tmp_path), 'PATH': str(BIN), 'PYTHONPATH': str(ROOT)}
    done = run(BIN/'catdog', 'predict', exported, exported/'cat.jpg', env=environment)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob('*')) == []
