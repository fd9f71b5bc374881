"""What someone who knows the field writes by hand: features of a timm network, and logistic regression on them. Called by head.py."""
import argparse
import time

start = time.perf_counter()


def loaders(folder, size, shape):
    "Both sides of the photos, decoded by two workers"
    from timm.data import create_transform
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    transform = create_transform((3, size, size), mean=shape['mean'], std=shape['std'], interpolation=shape['interpolation'],
        crop_pct=shape['crop_pct'])
    return [DataLoader(ImageFolder(f'{folder}/{side}', transform), 64, num_workers=2) for side in ('train', 'valid')]


def as_onnx(model, size):
    "The network as an onnxruntime session, a function of a batch"
    import io
    import onnxruntime
    import torch
    file, photo = io.BytesIO(), torch.zeros(1, 3, size, size)
    torch.onnx.export(model, (photo,), file, input_names=['x'], dynamic_axes=dict(x={0: 'n'}), dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue())
    def run(photos): return session.run(None, dict(x=photos.numpy()))[0]
    return run


def main():
    parser = argparse.ArgumentParser()
    for name in ('folder', 'arch', 'weights', 'engine'): parser.add_argument(name)
    parser.add_argument('--size', type=int, default=224)
    args = parser.parse_args()
    import numpy as np
    import timm
    import torch
    from sklearn.linear_model import LogisticRegression
    model = timm.create_model(args.arch, pretrained=True, num_classes=0, pretrained_cfg_overlay=dict(file=args.weights)).eval()
    def by_torch(photos): return model(photos).numpy()
    run = as_onnx(model, args.size) if args.engine == 'onnxruntime' else by_torch
    sides = []
    with torch.inference_mode():
        for loader in loaders(args.folder, args.size, timm.data.resolve_data_config(model=model)):
            features, labels = zip(*((run(x), y.numpy()) for x, y in loader))
            sides.append((np.concatenate(features), np.concatenate(labels)))
    (features, labels), (valid_features, valid_labels) = sides
    scale = features.std(0)+1e-6
    head = LogisticRegression(max_iter=1000).fit(features/scale, labels)
    accuracy = head.score(valid_features/scale, valid_labels)
    print('head', time.perf_counter()-start, accuracy)


if __name__ == '__main__': main()
