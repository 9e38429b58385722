"""What users of a release get: a wheel with everything in it, a citation, a changelog."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

from skinjax import experiments
from tests.helpers import ROOT, SMALL, TINY, command, environment, flags

RECIPES = ('setup.py', 'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE')
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / 'setup.cfg', encoding='utf-8')
SYSTEMS = {  # words of the title -> configs that come from it
    'Skin Deep Unlearning': {'lntl', 'tabe', 'clgr', 'double'},
    'Purification and Augmentation': {'purify', 'segment', 'inpaint', 'dcgan', 'balance_isic2017'},
    'using taxonomies': {'hierarchical', 'weighting'},
    'Style Transfer for Debiasing': {'stylise', 'lesion_cnn'},
    'Global Explanations': {'audit_gebi', 'audit_counterfactual'},
    'Turning a Blind Eye': {'tabe'},
    'Learning Not to Learn': {'lntl'},
    'Convolutional Neural Networks': {'stylise'},
    'Clever Hans': {'audit_spray'},
    'Constructing Bias': {'compare_destruction'},
}


def test_the_citation_is_of_this_version_and_names_the_systems():
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    meta = SETUP['metadata']
    assert (cited['cff-version'], cited['type']) == ('1.2.0', 'software')
    assert (cited['version'], cited['license']) == (meta['version'], meta['license'])
    assert cited['title'] == f'skinjax: {meta["description"][0].lower()}{meta["description"][1:]}'
    assert cited['authors'] == [{'name': 'The skinjax authors'}]
    of = {}
    for one in cited['references']:
        assert {'type', 'title', 'authors', 'notes'} <= set(one)
        assert 'year' in one or 'repository-code' in one
        named = re.findall(r'configs? ([a-z_0-9, ]+)', one['notes'])
        of[one['title']] = set(', '.join(named).split(', '))
        assert of[one['title']] <= set(experiments.names())
    for words, configs in SYSTEMS.items():
        (title,) = (title for title in of if words in title)
        assert of[title] == configs


def test_the_changelog_begins_with_this_version():
    text = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    versions = re.findall(r'^## \[([^]]+)\] - (?:Unreleased|\d{4}-\d\d-\d\d)$', text, re.M)
    assert versions[0] == SETUP['metadata']['version']
    for kind in experiments.kinds():
        assert f'`{kind}`' in text


def test_the_workflow_runs_what_is_run_here():
    flow = yaml.safe_load((ROOT / '.github' / 'workflows' / 'ci.yml').read_text(encoding='utf-8'))
    job = flow['jobs']['test']
    supported = re.findall(r'Python :: (3\.\d+)', SETUP['metadata']['classifiers'])
    assert job['strategy']['matrix']['python'] == supported
    assert job['steps'][-1]['run'].split() == ['bash', '.ci/run']
    assert (ROOT / '.ci' / 'run').is_file()


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The folder in which a wheel of this checkout is installed, without other packages."""
    root = tmp_path_factory.mktemp('wheel')
    source, target = root / 'source', root / 'target'
    source.mkdir()
    for name in RECIPES:
        shutil.copyfile(ROOT / name, source / name)
    for name in ('skinjax', 'configs'):  # copies, since building leaves folders beside them
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
    offline = ['--no-deps', '--no-index']
    wheel = [*pip, 'wheel', *offline, '--no-build-isolation', '--wheel-dir', str(root), str(source)]
    subprocess.run(wheel, check=True, capture_output=True, timeout=120)
    (path,) = root.glob('*.whl')
    install = [*pip, 'install', *offline, '--no-compile', '--target', str(target), str(path)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return path, target


def test_the_wheel_has_every_file(installed):
    path, _ = installed
    with zipfile.ZipFile(path) as archive:
        found = {name for name in archive.namelist() if '.dist-info/' not in name}
    files = [p for p in (ROOT / 'skinjax').rglob('*') if p.is_file() and p.suffix != '.pyc']
    wanted = {p.relative_to(ROOT).as_posix() for p in files}
    wanted |= {f'skinjax/configs/{name}.py' for name in experiments.names()}
    assert found == wanted and 'skinjax/py.typed' in found


def run(installed, folder, *arguments):
    """`python -m skinjax.main`, from the wheel alone, in `folder`."""
    _, target = installed
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(PYTHONPATH=str(target)),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_experiments_of_the_wheel_are_found_outside_the_checkout(installed, tmp_path):
    unknown = run(installed, tmp_path, '--config=configs/clgr.py')
    assert unknown.stderr == "error: no file 'configs/clgr.py'; did you mean skinjax:clgr?\n"
    lost = run(installed, tmp_path, '--config=skinjax:clgr:isic2017')
    assert lost.returncode == 1 and 'data.root' in lost.stderr


@pytest.mark.slow
def test_experiments_of_the_wheel_run(installed, tmp_path):
    sizes = {name: TINY[name] for name in ('data.n_train', 'data.n_val', 'data.n_test')}
    made = run(installed, tmp_path, '--config=skinjax:generate', *flags(sizes))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / 'runs' / 'generate' / 'DONE').is_file()
    done = run(installed, tmp_path, '--config=skinjax:clgr', *flags(SMALL))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'runs' / 'clgr' / 'report.html').is_file()
