"""Seconds from the command to its answer, each in a new process: catdog beside fastai's load_learner and predict."""
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from measure import arguments, quiet_environment, ratios, report, show, spread_of, summary, take_turns, timed

CATDOG = 'import sys; from catdog.__main__ import main; main()'
FASTAI = '''import sys
from fastai.vision.all import load_learner
learn = load_learner(sys.argv[1])
with learn.no_bar(): print(learn.predict(sys.argv[2])[0])'''


def prepare(folder):
    "The same network twice, as fastai and as catdog keep it, and a photo"
    from catdog.photos.sample import draw_sample
    from catdog.models.backbone import build_model, save_model
    from catdog.deploy.export import export_model
    from fastai.vision.all import ImageDataLoaders, Resize, vision_learner
    draw_sample(folder/'pets', n=8, seed=1)
    photos = ImageDataLoaders.from_folder(folder/'pets', valid_pct=.25, item_tfms=Resize(224), bs=2, num_workers=0)
    learn = vision_learner(photos, 'resnet18', pretrained=False)
    learn.export(folder/'fastai.pkl')
    model, shape, _ = build_model('resnet18', 2, 'none', 224)
    for name in ('model', 'weights'): save_model(folder/f'{name}.safetensors', model, 'resnet18', ['cat', 'dog'], shape)
    export_model(folder/'model.onnx', model, shape, ['cat', 'dog'], folder/'model.safetensors')
    return next((folder/'pets'/'cat').iterdir())


def run(*command):
    "Seconds of a process"
    line = [sys.executable, '-c', *map(str, command)]
    seconds, done = timed(lambda: subprocess.run(line, capture_output=True, text=True, env=quiet_environment()))
    if done.returncode: raise SystemExit(done.stderr)
    return seconds


def main():
    warnings.filterwarnings('ignore')
    args = arguments(__doc__, repeats=5)
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        folder = Path(folder)
        photo = prepare(folder)
        contenders = {
            'catdog --help': lambda: run(CATDOG, '--help'),
            'catdog predict': lambda: run(CATDOG, 'predict', folder/'model.safetensors', photo),
            'catdog predict, no ONNX file': lambda: run(CATDOG, 'predict', folder/'weights.safetensors', photo),
            'fastai load_learner, predict': lambda: run(FASTAI, folder/'fastai.pkl', photo),
            'import torch alone': lambda: run('import torch')}
        take_turns(contenders, 1)   # files into memory
        figures = take_turns(contenders, args.repeats)
    other = 'fastai load_learner, predict'
    rows = [(name, show(values, 2), f"{summary(ratios(figures, name, other))['median']:.2f}") for name, values in figures.items()]
    targets = []
    for name in ('catdog --help', 'catdog predict'):
        targets.append((f'{name} over fastai', summary(ratios(figures, name, other))['median'], .25, False))
    title = f'Seconds in a new process, resnet18, one photo: {spread_of(args.repeats)}'
    summaries = {name: summary(values) for name, values in figures.items()}
    report('startup', title, ['command', 'seconds', 'over fastai'], rows, args, targets, figures=summaries)


if __name__ == '__main__': main()
