"""Does it cost accuracy that photos are packed? The same training on packed photos and on whole ones, decoded in every epoch, over seeds.

A pack keeps each training photo at a third more than the network sees; its crops are cut from there. Whole photos are cropped at the
size they were taken. All else is the same: the order, the crops' places, the test photos."""
import tempfile
import warnings
from pathlib import Path

import numpy as np

from measure import PHOTOS, arguments, find_photos, report, show, summary

WAYS = ('packed', 'whole')


class WholePhotos:
    "The training photos at full size, decoded each time"
    def __init__(self, paths): self.paths = list(paths)
    def __len__(self): return len(self.paths)

    def __getitem__(self, i):
        from catdog.photos.decode import open_photo
        return np.asarray(open_photo(self.paths[i]))


def train(way, seed, args, source, runs):
    "Accuracy and log loss on the test photos"
    from catdog.evaluation.evaluate import predict_photos
    from catdog.evaluation.metrics import predictions_table, quality
    from catdog.photos.catalogue import make_catalogue
    from catdog.training.config import make_config
    from catdog.training.finetune import fit, prepare
    settings = dict(data=str(source), arch=args.arch, weights=args.weights, image_size=args.size, epochs=args.epochs)
    config = make_config(**settings, seed=seed, recipe='finetune', keep='last', wandb='disabled', runs=str(runs/way))
    catalogue = make_catalogue(config.data, config.valid_fraction, seed=config.split_seed)
    training = prepare(config, catalogue, progress=False)
    sides = {side: training.catalogue[training.catalogue.split == side] for side in ('train', 'test')}
    if way == 'whole': training.dls.train.dataset.photos = WholePhotos(sides['train'].path)
    with training.learner.no_bar(), training.learner.no_logging(): fit(training)
    answers = predict_photos(training.model, training.dls[2])
    scores = quality(predictions_table(sides['test'], answers, training.dls.vocab))
    return dict(accuracy=100*scores['accuracy'], log_loss=scores['log_loss'])


def main():
    warnings.filterwarnings('ignore')
    from catdog.words import plural
    args = arguments(__doc__, repeats=3, photos=(str(PHOTOS.parent), 'photos by side and class'), size=(64, 'side of the input, in pixels'),
        arch=('tf_efficientnet_lite0', 'a network'), weights=('auto', 'as RunConfig.weights'), epochs=(1, 'of fine-tuning'))
    source, found = find_photos(args.photos), {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        for seed in range(args.repeats):
            for way in WAYS:
                found[way].append(train(way, seed, args, source, Path(folder)))
                print(f'{way}, seed {seed}: {found[way][-1]}', flush=True)
    by = {way: {name: [scores[name] for scores in found[way]] for name in found[way][0]} for way in WAYS}
    rows = [(way, show(by[way]['accuracy'], 1), show(by[way]['log_loss'], 3)) for way in WAYS]
    lost = [whole-packed for whole, packed in zip(by['whole']['accuracy'], by['packed']['accuracy'])]
    more = [packed-whole for whole, packed in zip(by['whole']['log_loss'], by['packed']['log_loss'])]
    targets = [('points of accuracy that packs lose, mean over seeds', float(np.mean(lost)), .5, False),
        ('log loss that packs add, mean over seeds', float(np.mean(more)), .01, False)]
    figures = {way: {name: summary(values) for name, values in by[way].items()} for way in WAYS}
    what = f'{args.arch}, {args.size} px, {plural(args.epochs, "epoch")} of fine-tuning'
    title = f'{what}: median (smallest to largest) of {args.repeats} seeds'
    report('packs', title, ['training photos', 'accuracy, %', 'log loss'], rows, args, targets, figures=figures)


if __name__ == '__main__': main()
