"""Which image backbone should I fine-tune, and what will it cost me?"""


def __getattr__(name):
    if name == '__version__':
        from importlib.metadata import version
        return version('catdog-timm')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
