"""What runs catdog elsewhere is well-formed: SkyPilot's own loader, the shell, and the schemas of workflows and citation."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run

SKY = sorted((ROOT/'cloud'/'sky').glob('*.yaml'))
SCRIPTS = sorted((ROOT/'cloud'/'google').glob('*.sh'))
WORKFLOWS = sorted((ROOT/'.github'/'workflows').glob('*.yml'))

LOAD = """
import json, sys
import sky
task = sky.Task.from_yaml(sys.argv[1])
spot = [bool(resources.use_spot) for resources in task.resources]
print(json.dumps(dict(name=task.name, spot=any(spot), run=task.run, service=task.service is not None, envs=task.envs)))
"""


@pytest.fixture(scope='module')
def sky():
    "A Python with SkyPilot, whose requirements are too many to share an environment: CATDOG_SKY names it"
    python = os.environ.get('CATDOG_SKY')
    if not python: pytest.skip('CATDOG_SKY names no Python of an environment with skypilot (pip install skypilot)')
    return python


@pytest.mark.parametrize('path', SKY, ids=lambda path: path.stem)
def test_skypilot_loads_it(path, sky, tmp_path):
    done = run(sky, '-c', LOAD, path, cwd=ROOT, env={'HOME': str(tmp_path), 'PATH': os.environ['PATH']})
    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout.splitlines()[-1])
    assert task['spot'] == (path.stem == 'sweep') and task['service'] == (path.stem == 'serve') and 'catdog' in task['run']


KEYS = {'name', 'envs', 'resources', 'workdir', 'setup', 'run', 'service'}


@pytest.mark.parametrize('path', SKY, ids=lambda path: path.stem)
def test_its_commands_are_those_of_catdog(path):
    "Every key is one of SkyPilot's, every variable is declared, and the settings are fields of RunConfig"
    from catdog.training.config import RunConfig
    task = yaml.safe_load(path.read_text())
    assert set(task) <= KEYS
    used = set(re.findall(r'\$([A-Z_]+)', task['run']))
    assert used <= set(task['envs'])
    fields = set(re.findall(r'(\w+)="?\$', task['run'])) | set(re.findall(r'(\w+)=\d', task['run']))
    assert fields <= set(RunConfig.model_fields)
    assert subprocess.run(['bash', '-n'], input=task['setup']+task['run'], text=True).returncode == 0


STAND_IN = """#!/usr/bin/env bash
for word in "$@"; do case $word in *.*/tmp.*|/tmp/*) [ -f "$word" ] && cat "$word" >> "$TOLD.config";; esac; done
printf '%s\\n' "$(basename "$0") $*" >> "$TOLD"
"""


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.stem)
def test_google_scripts_say_all_they_need(path, tmp_path):
    "Run with stand-ins of gcloud and docker that write down what they are asked; each variable that is missing is named"
    for name in ('gcloud', 'docker'):
        (tmp_path/name).write_text(STAND_IN)
        (tmp_path/name).chmod(0o755)
    told = tmp_path/'told'
    place = dict(PROJECT='p', REGION='europe-west4', BUCKET='gs://b', MODEL='gs://b/m/model.onnx')
    given = dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', TOLD=str(told), **place)
    done = run(path, cwd=ROOT, env=given)
    assert done.returncode == 0, done.stderr
    text, config = told.read_text(), tmp_path/'told.config'
    handed = config.read_text() if config.exists() else ''
    assert 'europe-west4-docker.pkg.dev/p/catdog' in text+handed
    if path.stem == 'train':
        spec = yaml.safe_load(handed)
        assert spec['workerPoolSpecs'][0]['containerSpec']['args'][-1] == 'runs=gs://b/runs' and spec['scheduling']['strategy'] == 'SPOT'
    if path.stem == 'serve': assert '--args /model/m/model.onnx,' in text and 'bucket=b,' in text
    wanting = run(path, cwd=ROOT, env={**given, 'PROJECT': ''})
    assert wanting.returncode != 0 and 'PROJECT: the project' in wanting.stderr


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_read(path):
    flow = yaml.safe_load(path.read_text())
    assert {'name', 'jobs', 'permissions'} <= set(flow) and True in flow      # YAML reads `on` as true
    for job in flow['jobs'].values():
        assert 'runs-on' in job
        for step in job['steps']: assert ('run' in step) != ('uses' in step)
        for step in job['steps']: assert '@' in step.get('uses', '@')
        for step in job['steps']:
            if 'matrix' in step.get('run', ''): continue
            assert subprocess.run(['bash', '-n'], input=step.get('run', ''), text=True).returncode == 0


def test_versions_agree():
    version = re.search(r'(?m)^version = (.+)$', (ROOT/'settings.ini').read_text())[1]
    citation = yaml.safe_load((ROOT/'CITATION.cff').read_text())
    assert citation['version'] == version and citation['license'] == 'Apache-2.0'
    assert f'\n## {version}\n' in (ROOT/'CHANGELOG.md').read_text()


def test_the_image_takes_what_it_needs():
    "Every file that the Dockerfile copies is let through, and the runtime's list is where it looks for it"
    ignored = (ROOT/'.dockerignore').read_text().split()
    copied = [word for line in re.findall(r'(?m)^COPY (?!--from)(.+)$', (ROOT/'Dockerfile').read_text()) for word in line.split()[:-1]]
    assert copied and all(f'!{name}' in ignored and (ROOT/name).exists() for name in copied)
    shown = run('make', '--dry-run', 'container', 'CONTAINER=podman', cwd=ROOT)
    assert '--target serve' in shown.stdout and '--target train' in shown.stdout


@pytest.mark.parametrize('name', ['Dockerfile', 'cloud/README.md', 'nbs/machines.ipynb', '.github/workflows/container.yml'])
def test_folders_are_there_before_they_are_mounted(name):
    "A folder that docker has to make is root's, and nobody else can write there"
    text = (ROOT/name).read_text().replace('\\"', '"')
    written = [(mount.start(), mount[1]) for mount in re.finditer(r'-v "\$PWD/(\w+):[\w/]+"', text)]
    assert written
    for place, folder in written: assert re.search(rf'mkdir (-p )?([\w ]+ )?{folder}\b', text[:place]), f'{name} mounts {folder}'


def test_pre_commit_runs_what_there_is():
    for hook in yaml.safe_load((ROOT/'.pre-commit-config.yaml').read_text())['repos'][0]['hooks']:
        program = Path(hook['entry'].split()[0]).name
        assert (Path(sys.executable).parent/program).exists() or shutil.which(program)
