"""Whatever lacks a package says which extra brings it, in one form that fits how catdog was installed."""
import importlib
import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from catdog import doctor, errors, lab
from catdog.deploy import export, predict, serve
from catdog.evaluation import formats, judge
from catdog.photos import card, decode, download, sources
from catdog.sweeps import bucket

WHEEL = 'file:///wheels/catdog_timm-0.1.0-py3-none-any.whl'
LACKING = {      # the package that is not there, the extra that brings it, and who needs it
    'review page': ('fastapi', 'serve', lambda: judge.open_review([], ['cat'])),
    'openvino format': ('openvino', 'openvino', lambda: formats.check_formats(['openvino'])),
    'export': ('onnx', 'deploy', lambda: export.export_model('model.onnx', None, None, [])),
    'formats': ('onnx', 'deploy', lambda: formats.export_run(None, 'out')),
    'onnxruntime': ('onnxruntime', 'deploy', predict.load_onnxruntime),
    'openvino': ('openvino', 'openvino', predict.load_openvino),
    'photo in a store': ('s3fs', 'sources', lambda: predict.open_store('s3://pets/cat.jpg')),
    'serve': ('uvicorn', 'serve', lambda: serve.serve('model.onnx')),
    'lab': ('jupyterlab', 'lab', lambda: lab.lab_command('notebooks')),
    'doctor': ('onnx', 'deploy', lambda: doctor.check_export('cpu')),
    'runs in a store': ('s3fs', 'sweep', lambda: bucket.fetch_runs('s3://pets/runs')),
    'kaggle': ('kagglehub', 'sources', sources.fetch_kaggle),
    'hub': ('datasets', 'sources', lambda: sources.fetch_huggingface('pets')),
    'heic': ('pillow_heif', 'photos', decode._read_heic),
    'card': ('cleanvision', 'photos', lambda: card.find_issues(None)),
    'archive in a store': ('s3fs', 'sources', lambda: download.open_bucket('s3://pets/photos.zip'))}


@pytest.mark.parametrize('origin', ['clone', 'index', WHEEL])
@pytest.mark.parametrize('who', LACKING)
def test_one_form_for_all(who, origin, monkeypatch, tmp_path):
    package, extra, need = LACKING[who]
    monkeypatch.setenv('CATDOG_CACHE', str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)       # as if it were not installed
    monkeypatch.delitem(importlib.import_module('fsspec.registry')._registry, 's3', raising=False)   # nor found by an earlier test
    monkeypatch.setattr(errors, '_came_from', lambda: origin)
    with pytest.raises((ValueError, doctor.NotHereError)) as caught: need()
    assert errors.install_line(extra, origin) in str(caught.value)


@pytest.mark.parametrize('path', sorted(ROOT.glob('nbs/*.ipynb')), ids=lambda path: path.stem)
def test_nobody_writes_it_by_hand(path):
    cells = [''.join(cell['source']) for cell in json.loads(path.read_text())['cells'] if cell['cell_type'] == 'code']
    exported = [cell for cell in cells if re.search(r'^#\| *exporti?\b', cell, re.M) and 'def install_line' not in cell]
    assert not [line for cell in exported for line in cell.splitlines() if re.search(r"pip install ['\"]?\.|\[extra\]", line)]


def test_where_catdog_came_from_is_the_same_in_its_clone_and_elsewhere(tmp_path):
    "What building leaves in a clone says nothing of it"
    ask = [sys.executable, '-c', 'from catdog.errors import install_line; print(install_line("deploy"))']
    here, elsewhere = (subprocess.run(ask, cwd=folder, capture_output=True, text=True).stdout for folder in (ROOT, tmp_path))
    assert here == elsewhere != ''
