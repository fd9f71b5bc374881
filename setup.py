"""Package metadata from settings.ini, and the runnable notebooks copied into the wheel."""
import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
config = ConfigParser(delimiters=['='], interpolation=None)
config.read(HERE/'settings.ini', encoding='utf-8')
settings = config['DEFAULT']


def lines(key):
    "The non-empty lines of a setting"
    return [line.strip() for line in settings[key].splitlines() if line.strip()]


class BuildWithNotebooks(build_py):
    "An installed catdog runs the same notebooks as a checkout, so the wheel carries them."
    def run(self):
        super().run()
        if self.editable_mode: return
        target = Path(self.build_lib)/settings['module']/'notebooks'
        target.mkdir(parents=True, exist_ok=True)
        for name in ('train.ipynb', 'compare.ipynb'): shutil.copy(HERE/'nbs'/name, target/name)


extras = {key.removesuffix('_requirements'): lines(key) for key in settings if key.endswith('_requirements')}

setup(
    version=settings['version'],
    description=settings['description'],
    author=settings['author'],
    license=settings['license'],
    keywords=settings['keywords'].split(),
    packages=find_packages(include=[settings['module'], f"{settings['module']}.*"]),
    package_data={f"{settings['module']}.conf": ['**/*.yaml'], f"{settings['module']}.page": ['*.j2', '*.css', '*.js']},
    install_requires=lines('requirements'),
    extras_require=extras,
    entry_points={'console_scripts': lines('console_scripts'),
                  'nbdev': [f"{settings['module']}={settings['module']}._modidx:d"]},
    long_description=(HERE/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    cmdclass={'build_py': BuildWithNotebooks},
)
