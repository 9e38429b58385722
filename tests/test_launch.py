"""The launchers: their syntax, and what they say they would run."""

import os
import shlex
import shutil
import subprocess

import pytest
import yaml

from tests.helpers import ROOT

LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(path.name for path in LAUNCH.glob('*.sh'))
CONFIG = '--config=configs/clgr.py'
POD = {'TPU': 'pod', 'ZONE': 'here'}
SLICE = {
    'NAME': 'clgr-1', 'IMAGE': 'skinjax:0.1', 'TOPOLOGY': '4x4', 'HOSTS': '4',
    'ACCELERATOR': 'tpu-v5-lite-podslice', 'CHIPS': '4', 'CLAIM': 'runs',
}  # fmt: skip


def run(script: str, *arguments: str, env: dict[str, str] | None = None, status: int = 0) -> str:
    """What a launcher prints."""
    done = subprocess.run(
        ['bash', str(LAUNCH / script), *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


@pytest.mark.parametrize('name', SCRIPTS)
def test_syntax(name):
    path = LAUNCH / name
    assert path.read_text().startswith('#!/usr/bin/env bash\n') and os.access(path, os.X_OK)
    assert subprocess.run(['bash', '-n', str(path)]).returncode == 0
    if checker := shutil.which('shellcheck'):
        done = subprocess.run([checker, str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_each_launcher_is_explained():
    text = (LAUNCH / 'README.md').read_text()
    assert len(SCRIPTS) == 4
    assert all(f'launch/{name}' in text for name in SCRIPTS)


def test_local():
    assert run('local.sh', '--dry-run', CONFIG).split() == [
        'python', '-m', 'skinjax.main', CONFIG
    ]  # fmt: skip
    lines = run('local.sh', '--dry-run', '--processes=3', CONFIG, '--config.seed=2').splitlines()
    assert len(lines) == 3
    for k, line in enumerate(lines):
        words = shlex.split(line)
        assert f'JAX_PROCESS_ID={k}' in words and 'JAX_NUM_PROCESSES=3' in words
        assert words[-3:] == [CONFIG, '--config.seed=2', '--config.distributed']
    assert '--processes=0' in run('local.sh', '--processes=0', CONFIG, status=2)


def test_tpu_pod():
    override = '--config.data.bias=("ruler",)'
    words = shlex.split(
        run('tpu_pod.sh', '--dry-run', 'run', CONFIG, '--workdir=/mnt/a b', override, env=POD)
        .replace("$'", "'")  # bash's quotes for a line break
        .replace('\\n', '\n')
    )
    assert words[:7] == [
        'gcloud', 'compute', 'tpus', 'tpu-vm', 'ssh', 'pod', '--zone=here'
    ]  # fmt: skip
    assert '--worker=all' in words
    there = words[-1]
    assert CONFIG in there and '/mnt/a' in there and 'ruler' in there
    assert there.endswith('--config.distributed')
    setup = run('tpu_pod.sh', '--dry-run', 'setup', env=POD)
    assert 'git archive' in setup and 'tpu-vm scp' in setup and 'pip install' in setup
    assert 'kill' in run('tpu_pod.sh', '--dry-run', 'stop', env=POD)
    assert '--workdir' in run('tpu_pod.sh', '--dry-run', 'run', CONFIG, status=2, env=POD)
    assert 'expected setup' in run('tpu_pod.sh', '--dry-run', 'go', status=2, env=POD)


def test_slurm():
    words = shlex.split(
        run('slurm.sh', '--dry-run', '--nodes=2', '--', CONFIG, '--workdir=/shared/w')
    )
    assert words[0] == 'sbatch' and '--nodes=2' in words and '--requeue' in words
    assert words[-2:] == [CONFIG, '--workdir=/shared/w']
    job = {'SLURM_JOB_ID': '7', 'DRY_RUN': '1'}
    arguments = (CONFIG, '--workdir=/shared/w')
    alone = shlex.split(run('slurm.sh', *arguments, env={**job, 'SLURM_NTASKS': '1'}))
    assert alone[0] == 'srun' and tuple(alone[-2:]) == arguments
    several = shlex.split(run('slurm.sh', *arguments, env={**job, 'SLURM_NTASKS': '16'}))
    assert several[-1] == '--config.distributed'
    assert '--workdir=DIR' in run('slurm.sh', '--', CONFIG, status=2)


def test_gke_jobset():
    override = "--config.data.bias=('ruler',)"
    text = run('gke_jobset.sh', '--dry-run', CONFIG, override, env=SLICE)
    manifest = yaml.safe_load(text)
    assert manifest['kind'] == 'JobSet' and manifest['metadata']['name'] == 'clgr-1'
    job = manifest['spec']['replicatedJobs'][0]['template']['spec']
    assert job['completionMode'] == 'Indexed'
    assert job['parallelism'] == job['completions'] == 4
    pod = job['template']['spec']
    assert pod['nodeSelector']['cloud.google.com/gke-tpu-topology'] == '4x4'
    container = pod['containers'][0]
    assert container['resources']['limits'] == {'google.com/tpu': 4}
    assert '${' not in text
    assert 'HOSTS' in run('gke_jobset.sh', CONFIG, status=1, env={**SLICE, 'HOSTS': ''})
    assert 'do not belong' in run('gke_jobset.sh', CONFIG, status=2, env={**SLICE, 'IMAGE': 'a b'})


@pytest.mark.parametrize(
    ('status', 'done', 'want'), [(0, True, 0), (0, False, 1), (3, False, 3), (3, True, 3)]
)
def test_a_pod_ends_well_only_when_the_run_is_done(status, done, want, tmp_path):
    """The shell program of the manifest, with a `python` that only shows how it was called."""
    manifest = yaml.safe_load(run('gke_jobset.sh', '--dry-run', CONFIG, '--x=a b', env=SLICE))
    pod = manifest['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']
    [program] = pod['containers'][0]['args']
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\nexit {status}\n')
    python.chmod(0o755)
    if done:
        (tmp_path / 'runs' / 'clgr-1').mkdir(parents=True)
        (tmp_path / 'runs' / 'clgr-1' / 'DONE').touch()
    ended = subprocess.run(
        ['bash', '-c', program.replace('test -e /runs', f'test -e {tmp_path}/runs')],
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == want, ended.stderr
    assert ended.stdout.splitlines() == [
        '-m', 'skinjax.main', CONFIG, '--x=a b', '--workdir=/runs/clgr-1', '--config.distributed'
    ]  # fmt: skip
