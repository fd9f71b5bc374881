"""Package metadata from settings.ini, and the notebooks that a user runs copied into the wheel."""
import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
config = ConfigParser(delimiters=['='], interpolation=None)
config.read(HERE/'settings.ini', encoding='utf-8')
settings = config['DEFAULT']
module = settings['module']


def lines(key):
    "The non-empty lines of a setting"
    return [line.strip() for line in settings[key].splitlines() if line.strip()]


def read_extras():
    "The optional requirements by the extra's name; `dev` holds all of the others too"
    extras = {key.removesuffix('_requirements'): lines(key) for key in settings if key.endswith('_requirements')}
    needed = [requirement for extra in extras.values() for requirement in extra]
    return {**extras, 'dev': list(dict.fromkeys(needed))}


class BuildWithNotebooks(build_py):
    "An installed catdog runs the same notebooks as a checkout, so the wheel carries them."
    def run(self):
        super().run()
        if self.editable_mode: return
        target = Path(self.build_lib)/module/'notebooks'
        target.mkdir(parents=True, exist_ok=True)
        for name in settings['user_notebooks'].split(): shutil.copy(HERE/'nbs'/f'{name}.ipynb', target)


setup(
    version=settings['version'],
    description=settings['description'],
    author=settings['author'],
    license_expression=settings['license'],
    license_files=['LICENSE'],
    keywords=settings['keywords'].split(),
    classifiers=lines('classifiers'),
    packages=find_packages(include=[module, f'{module}.*']),
    include_package_data=False,
    package_data={module: ['py.typed', 'conf/**/*.yaml', 'page/**/*']},
    install_requires=lines('requirements'),
    extras_require=read_extras(),
    entry_points={'console_scripts': lines('console_scripts'), 'nbdev': [f'{module}={module}._modidx:d']},
    long_description=(HERE/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    cmdclass={'build_py': BuildWithNotebooks},
)
