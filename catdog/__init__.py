"""Which image backbone should I fine-tune, and what will it cost me?"""
import os
import warnings

# GNU OpenMP's threads spin for milliseconds after each parallel loop, and take a core from the threads that make the next batch.
# It reads how long when torch is imported; what the user has set stays.
if 'OMP_WAIT_POLICY' not in os.environ: os.environ.setdefault('GOMP_SPINCOUNT', '20000')

# onnxruntime writes an id of the device into the home folder and sends what it is used for, unless it is told not to when it is imported.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')

# Two notes of other libraries to their own developers, which would stand as a red box in every notebook.
warnings.filterwarnings('ignore', message=r'`torch\.jit\.', category=FutureWarning)
warnings.filterwarnings('ignore', message='IProgress not found')

__all__ = ['audit', 'train', 'find', 'compare', 'choose', 'predict']


def __getattr__(name):
    "What the package offers is loaded when it is first asked for, so that `import catdog` takes no time"
    if name in __all__:
        from catdog import door
        return getattr(door, name)
    if name == '__version__':
        from importlib.metadata import version
        return version('catdog-timm')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__(): return sorted({*globals(), *__all__, '__version__'})
