"""The notebooks that a person opens, in a real JupyterLab in Chromium: every cell runs, nothing is red, nothing warns."""
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import timm
from conftest import BIN
from safetensors.torch import save_file

LONG = pytest.mark.skipif(os.environ.get('CATDOG_FAULTS') != 'long', reason='one notebook is enough here: CATDOG_FAULTS=long opens all')
NETWORK = dict(weights='none', image_size=48, epochs=1)
TWO = 'test_resnet,baseline'
PARAMETERS = {
    'train': dict(NETWORK, arch='test_resnet', data='photos', runs='runs'),
    'compare': dict(runs='finished', out='report'),
    'explore': dict(data='photos', arch='test_resnet', weights='untrained.safetensors', image_size=64, review='review.csv'),
    'find': dict(NETWORK, data='photos', candidates=TWO, folds=2, runs='found')}
SETTINGS = {     # what a person answers and chooses once: no news, and the whole notebook in the page
    '@jupyterlab/apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False),
    '@jupyterlab/notebook-extension/tracker': dict(windowingMode='none')}
FOUND = """() => {
  const found = [];
  for (const cell of window.jupyterapp.shell.currentWidget.content.model.cells) {
    if (cell.type !== 'code') continue;
    const source = cell.sharedModel.getSource().slice(0, 80);
    if (!cell.executionCount) found.push('not run: ' + source);
    for (const output of cell.outputs.toJSON()) {
      const red = output.output_type === 'error' || output.name === 'stderr';
      const text = output.traceback ? output.traceback.join('\\n') : String(output.text ?? '');
      if (red || /warning/i.test(text)) found.push(source + ' -> ' + text.slice(-1500));
    }
  }
  return found;
}"""


def write_settings(folder):
    "Settings of JupyterLab, as it keeps them itself"
    for name, values in SETTINGS.items():
        file = folder/f'{name}.jupyterlab-settings'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "JupyterLab as `catdog lab` opens it: its address, and the folder in which the command was given"
    from catdog.photos.sample import draw_sample
    here = tmp_path_factory.mktemp('lab')
    draw_sample(here/'photos', n=60, seed=3)
    save_file(timm.create_model('test_resnet').state_dict(), here/'untrained.safetensors')
    places = {name: str(here/name) for name in ('JUPYTER_CONFIG_DIR', 'JUPYTER_RUNTIME_DIR', 'IPYTHONDIR', 'JUPYTERLAB_SETTINGS_DIR')}
    write_settings(here/'JUPYTERLAB_SETTINGS_DIR')
    options = ['--no-browser', '--port', '0', '--allow-root', '--expose-app-in-browser', '--IdentityProvider.token=']
    command = [str(BIN/'catdog'), 'lab', 'notebooks', *options]
    environment = {**os.environ, **places}
    environment.pop('MPLBACKEND', None)      # the kernel's own shows figures in the notebook
    process = subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, text=True)
    address = next(match[0] for match in (re.search(r'http://(127.0.0.1|localhost):\d+/', line) for line in process.stderr) if match)
    yield address, here
    for child in psutil.Process(process.pid).children(): child.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def give_parameters(notebook, values):
    "Change a copy as a person would: after the cell of parameters, values of one's own"
    content = json.loads(notebook.read_text())
    place = next(i for i, cell in enumerate(content['cells']) if 'parameters' in cell['metadata'].get('tags', []))
    lines = [f'{name} = {value!r}\n' for name, value in values.items()]
    cell = dict(cell_type='code', id='ab12cd34', metadata={}, execution_count=None, outputs=[], source=lines)
    content['cells'].insert(place+1, cell)
    notebook.write_text(json.dumps(content))


def take_picture(page, file):
    "The whole notebook as one picture, where a person asks for it (CATDOG_SCREENSHOTS)"
    if 'CATDOG_SCREENSHOTS' not in os.environ: return
    panel = page.locator('.jp-WindowedPanel-outer').first
    page.set_viewport_size(dict(width=1280, height=min(12000, 150+panel.evaluate('part => part.scrollHeight'))))
    panel.evaluate('part => part.scrollTop = 0')
    page.wait_for_timeout(1500)
    page.screenshot(path=Path(os.environ['CATDOG_SCREENSHOTS'])/file)


def judge_one(page, here):
    "A verdict given on the page inside the notebook is in the file at once"
    frame = page.frame_locator('iframe').first
    frame.get_by_role('button', name=re.compile('Drop', re.I)).first.click()
    file = here/'review.csv'
    for _ in range(100):
        if file.exists(): break
        page.wait_for_timeout(100)
    assert 'drop' in file.read_text()


@pytest.mark.parametrize('name', ['train', *[pytest.param(name, marks=LONG) for name in ('explore', 'compare', 'find')]])
def test_every_cell_runs_and_nothing_is_red(lab, name, page, request):
    address, here = lab
    if name == 'compare': (here/'finished').symlink_to(request.getfixturevalue('runs'))
    give_parameters(here/'notebooks'/f'{name}.ipynb', PARAMETERS[name])
    page.set_viewport_size(dict(width=1280, height=1000))
    page.goto(f'{address}lab/tree/{name}.ipynb?reset', timeout=60000)
    page.locator('.jp-Notebook').wait_for(timeout=60000)
    shown = 'const shown = window.jupyterapp.shell.currentWidget'
    page.evaluate(f'async () => {{ {shown}; await shown.context.ready; await shown.sessionContext.ready }}')
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    found = page.evaluate(FOUND)
    if name == 'explore': judge_one(page, here)
    take_picture(page, f'{name}.png')
    assert not found, '\n\n'.join(found)
    shown = page.locator('.jp-Notebook').inner_text()
    assert page.locator('.jp-RenderedMarkdown h1').count() == 1
    assert not re.search(r'\b[0-9a-f]{64}\b|IProgress|Traceback', shown)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
