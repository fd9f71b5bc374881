"""Seconds from a folder of photos to a solved head, whole commands from cold: `catdog train --recipe frozen` beside what someone who
knows the field writes by hand (expert.py: timm's features and logistic regression), with torch and with onnxruntime.

catdog's command looks at every photo first, and goes on after the head: it tests, exports and measures. Those are named apart."""
import re
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

from measure import PHOTOS, arguments, quiet_environment, ratios, report, show, spread_of, summary, take_turns

STAGES = {'starts from': 'photos looked at', 'head solved': 'head', 'measuring': 'tested and exported'}


def weights_file(arch, folder):
    "The weights that catdog takes too, as timm reads them"
    from catdog.models.backbone import build_model
    from safetensors.torch import save_file
    model, _, _ = build_model(arch, 1000, 'imagenet', 224)
    file = Path(folder)/f'{arch}.safetensors'
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    return file


def read_stages(process, start):
    "Second of each stage of catdog's command, as its lines come"
    found = {}
    for line in process.stdout:
        for word, stage in STAGES.items():
            if word in line: found.setdefault(stage, time.perf_counter()-start)
        accuracy = re.search(r'accuracy ([\d.]+)% \(', line)
        if accuracy: found['accuracy'] = float(accuracy[1])
    return found


def catdog(arch, data, size):
    "Seconds of the stages of `catdog train`, nothing in its cache"
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        environment = {**quiet_environment(folder), 'PYTHONUNBUFFERED': '1'}
        command = ['train', '--arch', arch, '--recipe', 'frozen', '--data', str(data), '--image-size', str(size)]
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, '-m', 'catdog', *command, '--runs', f'{folder}/runs'], text=True, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        stages = read_stages(process, start)
        if process.wait(): raise SystemExit('catdog train failed: run it by hand to see why')
        return dict(stages, end=time.perf_counter()-start)


def expert(engine, arch, weights, data, size):
    "Seconds to the head and to the end of the script's process"
    start = time.perf_counter()
    command = [sys.executable, '-W', 'ignore', str(Path(__file__).with_name('expert.py')), str(data), arch, str(weights), engine]
    done = subprocess.run([*command, '--size', str(size)], capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stderr)
    end = time.perf_counter()-start
    return dict(head=end, end=end, accuracy=100*float(done.stdout.split()[2]))


def main():
    warnings.filterwarnings('ignore')
    args = arguments(__doc__, repeats=5, data=(str(PHOTOS.parent), 'folder with train and valid class folders'),
        arch=('tf_efficientnet_lite0', 'network'), image_size=(224, 'side of the square input'))
    with tempfile.TemporaryDirectory() as folder:
        shared = (args.arch, weights_file(args.arch, folder), args.data, args.image_size)
        contenders = {'catdog train --recipe frozen': partial(catdog, args.arch, args.data, args.image_size),
            'by hand, torch': partial(expert, 'torch', *shared), 'by hand, onnxruntime': partial(expert, 'onnxruntime', *shared)}
        turns = take_turns(contenders, args.repeats)
    stages = ['photos looked at', 'head', 'tested and exported', 'end', 'accuracy']
    rows = [[name, *(show([t[s] for t in found], 1) if s in found[0] else '' for s in stages)] for name, found in turns.items()]
    def seconds(stage): return {name: [turn[stage] for turn in found] for name, found in turns.items()}
    def over(stage, engine):
        mine, other = seconds(stage)['catdog train --recipe frozen'], seconds('head')[f'by hand, {engine}']
        return summary(ratios(dict(a=mine, b=other), 'a', 'b'))['median']
    targets = [('to the head, over torch by hand', over('head', 'torch'), .6, False),
        ('to the head, over onnxruntime by hand', over('head', 'onnxruntime'), 1, False),
        ('the whole command, over torch by hand', over('end', 'torch'), 1, False),
        ('the whole command, over onnxruntime by hand', over('end', 'onnxruntime'), None, False)]
    what = f'Seconds to a solved head of {args.arch} at {args.image_size} px, from cold'
    title = f'{what}: {spread_of(args.repeats)}'
    figures = {name: {s: summary([t[s] for t in found]) for s in stages if s in found[0]} for name, found in turns.items()}
    report('head', title, ['', *stages], rows, args, targets, figures=figures)


if __name__ == '__main__': main()
