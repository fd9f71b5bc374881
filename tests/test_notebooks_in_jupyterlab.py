"""The notebooks that a person opens, in a real JupyterLab in Chromium: every cell runs, nothing is red, nothing warns."""
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import BIN

NETWORK = dict(arch='test_resnet', weights='none', image_size=48, epochs=1)
PARAMETERS = {
    'train': dict(NETWORK, data='photos', runs='runs'),
    'compare': dict(runs='runs', out='report'),
    'explore': dict(data='photos', image_size=64),
}
STATE = """async () => {
  const app = window.jupyterapp, notebook = app.shell.currentWidget;
  await notebook.context.ready; await notebook.sessionContext.ready;
}"""


@pytest.fixture(scope='module')
def lab(tmp_path_factory, runs):
    "JupyterLab as `catdog lab` opens it: its address, and the folder in which the command was given"
    from catdog.photos.sample import draw_sample
    here = tmp_path_factory.mktemp('lab')
    draw_sample(here/'photos', n=60, seed=3)
    (here/'runs').symlink_to(runs)
    options = ['--no-browser', '--port', '0', '--allow-root', '--expose-app-in-browser', '--IdentityProvider.token=']
    quiet = ['--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate', '--LabApp.news_url=None']
    command = [BIN/'catdog', 'lab', 'notebooks', *options, *quiet]
    environment = {**os.environ, 'JUPYTER_CONFIG_DIR': str(here/'config'), 'JUPYTER_RUNTIME_DIR': str(here/'runtime'), 'IPYTHONDIR': str(here/'ipython')}
    process = subprocess.Popen([str(c) for c in command], cwd=here, env=environment, stderr=subprocess.PIPE, text=True)
    address = next(match[0] for match in (re.search(r'http://(127.0.0.1|localhost):\d+/', line) for line in process.stderr) if match)
    yield address, here
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def give_parameters(notebook, values):
    "Change a copy as a person would: after the cell of parameters, values of one's own"
    import json
    content = json.loads(notebook.read_text())
    place = next(i for i, cell in enumerate(content['cells']) if 'parameters' in cell['metadata'].get('tags', []))
    lines = [f'{name} = {value!r}\n' for name, value in values.items()]
    cell = dict(cell_type='code', id='ab12cd34', metadata={}, execution_count=None, outputs=[], source=['# Parameters\n', *lines])
    content['cells'].insert(place+1, cell)
    notebook.write_text(json.dumps(content))


@pytest.mark.parametrize('name', PARAMETERS)
def test_every_cell_runs_and_nothing_is_red(lab, name, page, tmp_path):
    address, here = lab
    give_parameters(here/'notebooks'/f'{name}.ipynb', PARAMETERS[name])
    page.set_viewport_size(dict(width=1280, height=1000))
    page.goto(f'{address}lab/tree/{name}.ipynb?reset')
    page.locator('.jp-Notebook').wait_for(timeout=60000)
    page.evaluate(STATE)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    found = page.evaluate("""async () => {
      const model = window.jupyterapp.shell.currentWidget.content.model, found = [];
      for (const cell of model.cells) {
        if (cell.type !== 'code') continue;
        for (const output of cell.outputs.toJSON()) {
          const red = output.output_type === 'error' || output.name === 'stderr';
          const text = output.traceback ? output.traceback.join('\\n') : String(output.text ?? '');
          if (red || /warning/i.test(text)) found.push(cell.sharedModel.getSource().slice(0, 80) + ' -> ' + text.slice(-1500));
        }
      }
      return found;
    }""")
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    shots = Path(os.environ.get('CATDOG_SCREENSHOTS', tmp_path))
    take_pictures(page, shots/name)
    assert not found, '\n\n'.join(found)
    assert page.locator('.jp-OutputArea-output').count() > 3


def take_pictures(page, stem, most=12):
    "The notebook, a window at a time"
    frame = page.locator('.jp-WindowedPanel-outer').first
    for number in range(most):
        page.screenshot(path=f'{stem}-{number}.png')
        more = frame.evaluate('part => { const before = part.scrollTop; part.scrollTop += 850; return part.scrollTop > before }')
        page.wait_for_timeout(300)
        if not more: return
