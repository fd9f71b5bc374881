"""Loaders that other projects are known for, on the same photos and crops as catdog's. Each is left out where its package is missing.
`pip install ffcv` builds with Debian's g++, pkg-config, libturbojpeg0-dev and libopencv-dev; `pip install nvidia-dali-cuda120` needs no
card."""
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

MEAN, STD = np.array([.485, .456, .406])*255, np.array([.229, .224, .225])*255


class _PackedPixels:
    "Photos as catdog packs them, for FFCV to write: the same pixels, so that both crop from the same"
    def __init__(self, pack): self.pack = pack

    def __len__(self): return len(self.pack)

    def __getitem__(self, i): return np.ascontiguousarray(self.pack[i]), 0


def write_beton(pack, file, mode='raw', quality=90, workers=2):
    "FFCV's file of a pack's photos; what it takes on the disk, in bytes"
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter
    image = RGBImageField(write_mode=mode, jpeg_quality=quality)
    DatasetWriter(str(file), dict(image=image, label=IntField()), num_workers=workers).from_indexed_dataset(_PackedPixels(pack))
    return Path(file).stat().st_size


class _TorchColour(torch.nn.Module):
    "torchvision's brightness, contrast and saturation, drawn anew for each photo of a batch"
    def __init__(self, strength):
        super().__init__()
        from torchvision.transforms import v2
        self.jitter = v2.ColorJitter(strength, strength, strength)

    def forward(self, images): return torch.stack([self.jitter(image) for image in images])


def ffcv_loader(file, size, scale, batch, workers, strength=0., own=False):
    "FFCV with its random resized crop and mirror; colour by torchvision, or by its `own` operations"
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage
    from ffcv.transforms.color_jitter import RandomBrightness, RandomContrast, RandomSaturation
    image = [RandomResizedCropRGBImageDecoder((size, size), scale=scale), RandomHorizontalFlip()]
    if strength and own: image += [kind(strength, 1.) for kind in (RandomBrightness, RandomContrast, RandomSaturation)]
    if strength and not own:
        end = [ToTensor(), ToTorchImage(), _TorchColour(strength), _TorchNormalize()]
    else: end = [NormalizeImage(MEAN, STD, np.float32), ToTensor(), ToTorchImage()]
    pipelines = dict(image=image+end, label=[IntDecoder(), ToTensor()])
    return Loader(str(file), batch_size=batch, num_workers=workers, order=OrderOption.RANDOM, os_cache=True, drop_last=True,
        pipelines=pipelines)


class _TorchNormalize(torch.nn.Module):
    "Bytes to normalised floats"
    def __init__(self):
        super().__init__()
        self.mean, self.std = (torch.tensor(x, dtype=torch.float32).view(3, 1, 1) for x in (MEAN, STD))

    def forward(self, images): return (images.float()-self.mean)/self.std


def dali_loader(folder, size, scale, batch, workers, strength=0.):
    "DALI on the CPU: decodes the crop alone, resizes, mirrors and normalises; its colour where asked"
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

    @pipeline_def(batch_size=batch, num_threads=workers, device_id=None, seed=0)
    def photos():
        jpegs, labels = fn.readers.file(file_root=folder, random_shuffle=True, name='Reader')
        images = fn.decoders.image_random_crop(jpegs, random_area=list(scale), random_aspect_ratio=[3/4, 4/3])
        images = fn.resize(images, size=[size, size], interp_type=types.INTERP_CUBIC, antialias=True)
        if strength:
            names = ('brightness', 'contrast', 'saturation')
            images = fn.color_twist(images, **{name: fn.random.uniform(range=[1-strength, 1+strength]) for name in names})
        mirror = fn.random.coin_flip()
        return fn.crop_mirror_normalize(images, mirror=mirror, mean=list(MEAN), std=list(STD), output_layout='CHW'), labels
    made = photos()
    made.build()
    found = DALIGenericIterator(made, ['image', 'label'], reader_name='Reader', last_batch_policy=LastBatchPolicy.DROP, auto_reset=True)
    return _Pairs(found)


class _Pairs:
    "DALI's batches as pictures and labels"
    def __init__(self, iterator): self.iterator = iterator

    def __iter__(self):
        for batch in self.iterator: yield batch[0]['image'], batch[0]['label']


def is_here(package):
    "Whether a rival is installed"
    return find_spec(package.split('.')[0]) is not None and find_spec(package) is not None
