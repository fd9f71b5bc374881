"""The page that labels photos on the visitor's own machine, put into the rendered site: `make docs` ends with it.

Its network is the baseline, trained on the drawn sample where catdog's cache does not hold that run yet; --model takes another artefact.
"""
import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from catdog.deploy.page import write_page
from catdog.errors import ConfigError
from catdog.files import cache_folder
from catdog.photos.sample import draw_picture

LIVE = Path(__file__).resolve().parent.parent/'_docs'/'live'
SETTINGS = dict(data='sample', arch='baseline', image_size=64, epochs=16, seed=42)
EXAMPLES = {'cat': 100_001, 'dog': 100_002, 'another cat': 100_003, 'another dog': 100_004}    # names and seeds; none is of the sample


def train_baseline():
    "The artefact of the baseline on the drawn sample"
    from catdog.door import train
    return train(**SETTINGS, runs=str(cache_folder()/'site')).folder/'model.onnx'


def draw_examples(folder):
    "Pictures that a visitor may try, drawn as those of the sample are"
    paths = [folder/f'{name}.png' for name in EXAMPLES]
    for path, seed in zip(paths, EXAMPLES.values()): draw_picture(path.stem.split()[-1], seed).save(path)
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', type=Path, help='a run folder or a model.onnx, in place of the baseline')
    parser.add_argument('--out', type=Path, default=LIVE, help='folder of the page')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder)/'live'
        try: made = write_page(args.model or train_baseline(), page, examples=draw_examples(Path(folder)))
        except ConfigError as error: return print(f'The site is whole but for its live page: {error}', file=sys.stderr)
        shutil.copytree(page, args.out, dirs_exist_ok=True)      # over what the site left there
        print(args.out/made.relative_to(page))


if __name__ == '__main__': main()
