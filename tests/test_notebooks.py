"""The notebooks of launch/colab: as they are kept, and run from top to bottom at small sizes."""

import itertools
import os
import re
import shutil
import subprocess
import venv

import nbformat
import pytest

from skinjax import experiments, notebook
from tests import notebooks
from tests.data import layouts
from tests.helpers import ISIC2017, ROOT, SHARED, sample_isic2017
from tests.test_release import RECIPES

NAMES = sorted(path.stem for path in notebooks.FOLDER.glob('*.ipynb'))
PNG = 'iVBORw0KGgo'  # how a PNG begins in base 64
TRAIN = {
    'data.n_train': 32,
    'data.n_val': 16,
    'data.n_test': 16,
    'data.image_size': 32,
    'data.batch_size': 16,
    'train.steps': 2,
    'evaluate.batch_size': 32,
    'evaluate.bootstrap': 5,
    'evaluate.splits': ('val', 'plain', 'marked', 'balanced'),
    'evaluate.probes': ('linear',),
    'evaluate.probe_folds': 2,
}
AUDIT = {
    'audit.n_inserted': 8,
    'audit.bootstrap': 100,
    'audit.detect': False,
    'audit.probe_folds': 2,
    'audit.probes': ('linear',),
    'audit.counterfactual.kinds': ('ruler',),
    'audit.counterfactual.masks': 1,
    'audit.counterfactual.strengths': (),
    'audit.counterfactual.removal': (),
}


@pytest.fixture(autouse=True, scope='module')
def quick_compilation():
    """Compiling costs far more here than the few steps."""
    os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
    yield
    del os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS']


@pytest.fixture(scope='module')
def quick(tmp_path_factory):
    """The quick start as it was run, and the folder where that was."""
    folder = tmp_path_factory.mktemp('quick')
    return notebooks.execute('quick_start', {'OPTIONS': TRAIN}, folder), folder


@pytest.mark.parametrize('name', NAMES)
def test_a_notebook_is_kept_clean(name):
    """No outputs; first what one gets, %pip install, parameters; cells short enough to read."""
    kept = notebooks.read(name)
    nbformat.validate(kept)
    assert (kept.nbformat, kept.nbformat_minor) == (4, 5)
    kinds = [cell.cell_type for cell in kept.cells]
    assert kinds[:4] == ['markdown', 'code', 'markdown', 'code'] and kinds[-1] == 'markdown'
    assert notebooks.tagged(kept, 'install') == [1]
    assert notebooks.tagged(kept, 'parameters') == [3]
    for above, cell in itertools.pairwise(kept.cells):
        if cell.cell_type == 'code':
            assert above.cell_type == 'markdown'
            assert cell.outputs == [] and cell.execution_count is None
            assert 0 < len(cell.source.splitlines()) <= 16
    title = kept.cells[0].source
    assert title.startswith('# ') and re.search(r'^Measured: .*\d+ (minutes|seconds)', title, re.M)
    lines = [line for line in kept.cells[1].source.splitlines() if not line.startswith('#')]
    assert len(lines) == 1 and lines[0].startswith('%pip install --quiet "../..')
    assert str(ROOT.parent) not in notebooks.text(kept)


def test_every_notebook_is_listed():
    listed = (notebooks.FOLDER / 'README.md').read_text(encoding='utf-8')
    assert sorted(re.findall(r'^\| \[.*?\]\((\w+)\.ipynb\) \|', listed, re.M)) == NAMES


@pytest.mark.parametrize('name', NAMES)
def test_experiments_that_a_notebook_names_are_there(name):
    for named in re.findall(r'skinjax:([a-z_0-9]+)', notebooks.text(notebooks.read(name))):
        assert named in experiments.names()


def test_a_table_has_a_row_for_each_block():
    blocks = {'plain': {'n': 2, 'auc': {'value': 0.5, 'low': 0.25, 'high': 1.0}}}
    shown = notebook.table(blocks, {'images': 'n', 'AUC': 'auc', 'at least': 'auc.low'})
    lines = repr(shown).splitlines()
    assert lines[0].split() == ['images', 'AUC', 'at', 'least']
    assert lines[2].split() == ['plain', '2', '0.500', '(0.250–1.000)', '0.250']
    assert '<th scope="row">plain</th>' in shown._repr_html_()
    listed = notebook.table([{'name': 'a<b', 'n': 1}], ['name', 'n'])
    assert '<th scope="row">a&lt;b</th><td class="n">1</td>' in listed._repr_html_()
    with pytest.raises(ValueError, match=r"no 'acu' of 'acu\.low' there; did you mean 'auc'"):
        notebook.table(blocks, ['acu.low'])


def test_a_page_that_is_no_report_is_not_shown(tmp_path):
    (tmp_path / 'report.html').write_text('<p>a page', encoding='utf-8')
    with pytest.raises(ValueError, match=r'report\.html is no report: it has no <head>'):
        notebook.report(tmp_path)


def test_quick_start(quick):
    done, folder = quick
    assert PNG in notebooks.outputs(done, 'lesions')['image/png']
    assert PNG in notebooks.outputs(done, 'roc')['image/png']
    table = notebooks.rows(done, 'splits')
    assert [row[:2] for row in table[:2]] == [['val', '16'], ['plain', '16']]
    beside = notebooks.rows(done, 'beside')
    assert [row[0] for row in beside] == ['baseline', 'CLGR']
    for row in beside:
        assert len(row) == 5 and all(0 <= float(cell.split()[0]) <= 1 for cell in row[1:])
    assert len(notebooks.rows(done, 'leak')) == 2
    report = (folder / 'runs' / 'clgr' / 'report.html').read_text(encoding='utf-8')
    shown = notebooks.outputs(done, 'report')['text/html']
    assert shown.startswith('<iframe ') and len(shown) > len(report)
    told = notebooks.outputs(done, 'train')
    assert 'report: runs/clgr/report.html' in told['stdout']
    assert 'step 2/2' in told['stderr'] and told['stderr'].count('\n') < 4


def test_your_images(quick, tmp_path):
    """Forty pictures, and a network that begins with the weights of the quick start."""
    _, folder = quick
    parameters = {
        'WEIGHTS': str(folder / 'runs' / 'clgr'),
        'DRAWN': {'data.n_train': 20, 'data.n_val': 5, 'data.n_test': 3, 'data.image_size': 32},
        'IMAGE_SIZE': 32,
        'OPTIONS': {k: v for k, v in TRAIN.items() if k != 'data.image_size' and '.n_' not in k},
        'AUDIT': AUDIT,
    }
    done = notebooks.execute('your_images', parameters, tmp_path)
    work = tmp_path / 'runs' / 'mine'
    assert len([*(work / 'pictures' / 'images').iterdir()]) == 40
    for step in ('pictures', 'inspected', 'prepared', 'trained', 'audit'):
        assert (work / step / 'DONE').is_file()
    assert notebooks.outputs(done, 'csv')['stdout'].startswith('id,image,')
    assert all(0 <= float(row[2].split()[0]) <= 1 for row in notebooks.rows(done, 'results'))
    found = notebooks.rows(done, 'findings')
    assert found and {row[0] for row in found} <= {'warning', 'note', 'unknown', 'good'}
    for cell in ('inspect-report', 'report'):
        assert notebooks.outputs(done, cell)['text/html'].startswith('<iframe ')


def test_explain_and_discover(quick):
    """After the quick start, whose baseline is not trained again."""
    _, folder = quick
    parameters = {
        'OPTIONS': TRAIN,
        'EXPLAIN': {'split': 'balanced', 'sanity': 2, 'faithfulness': 2, 'shown': 2},
        'CLUSTERS': {'audit.eigenvalues': 6, 'audit.exemplars': 2, 'audit.perplexity': 2.0},
        'INSERT': {
            'audit.n': 8,
            'audit.kinds': ('ruler',),
            'audit.masks': 1,
            'audit.strengths': (),
            'audit.removal': (),
            'audit.bootstrap': 10,
        },
    }
    done = notebooks.execute('explain_and_discover', parameters, folder)
    assert 'is done' in notebooks.outputs(done, 'train')['stdout']
    for cell in ('maps', 'exemplars', 'pictures'):
        assert PNG in notebooks.outputs(done, cell)['image/png']
    ranks = notebooks.rows(done, 'sanity')
    assert ranks[0][0] == 'head' and all(-1 <= float(row[1].split()[0]) <= 1 for row in ranks)
    assert [row[0] for row in notebooks.rows(done, 'faithful')] == ['deletion', 'insertion']
    assert all(len(row) == 7 for row in notebooks.rows(done, 'enriched'))
    ((artefact, n, share, points),) = notebooks.rows(done, 'moved')
    assert (artefact, n) == ('ruler', '8')
    assert 0 <= float(share.split()[0]) <= 1 and float(points.split()[0]) >= 0


@pytest.mark.parametrize(
    'methods',
    [('baseline',), pytest.param(('baseline', 'clgr'), marks=pytest.mark.slow)],
    ids='-'.join,
)
def test_unlearning_isic2017(methods, tmp_path):
    """Without ../shared on squares of noise, and without weights."""
    weights = SHARED / 'weights' / 'mobilenet_v2_1.0_224_dequantised_f32.npz'
    folder = tmp_path / 'isic2017'
    if ISIC2017.is_dir():
        sample_isic2017(folder)
    else:
        layouts.isic2017_prepared(folder)
    sizes = {'data.image_size': 32, 'data.batch_size': 8, 'train.steps': 2, 'evaluate.bootstrap': 5}
    parameters = {
        'FOLDER': str(folder),
        'WEIGHTS': str(weights) if weights.is_file() else '',
        'METHODS': methods,
        'OPTIONS': {**sizes, 'train.head_first': False, 'evaluate.tta': False},
    }
    done = notebooks.execute('unlearning_isic2017', parameters, tmp_path)
    for cell, columns in {'groups': 3, 'probes': 2}.items():
        table = notebooks.rows(done, cell)
        assert [row[0] for row in table] == [*methods]
        for row in table:
            assert len(row) == 1 + columns
            assert all(0 <= float(one.split()[0]) <= 1 for one in row[1:])
    counts = notebooks.rows(done, 'balance')
    assert [row[0] for row in counts] == ['absent', 'present']
    assert all(int(count) > 0 for row in counts for count in row[1:])


def test_throughput(tmp_path):
    sizes = {'batch': 2, 'size': 32, 'rounds': 1, 'steps': 1, 'modes': ('infer',)}
    options = {**sizes, 'cases': ('resnet50',), 'variants': ('eager',), 'repository': str(ROOT)}
    done = notebooks.execute('throughput', {'OPTIONS': options}, tmp_path)
    table = notebooks.outputs(done, 'table')['text/markdown']
    for program in ('skinjax', 'torch_baselines eager'):
        assert f'| resnet50 | infer | {program} |' in table


@pytest.mark.slow
def test_the_first_cell_installs_what_the_others_need(tmp_path):
    """In a new virtual environment, which has a kernel and nothing else."""
    for name in RECIPES:
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ('skinjax', 'configs'):  # copies, since building leaves folders beside them
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    folder = tmp_path / 'launch' / 'colab'
    folder.mkdir(parents=True)
    venv.create(tmp_path / 'venv', with_pip=True)
    python = str(tmp_path / 'venv' / 'bin' / 'python')
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', 'ipykernel'], check=True)
    done = notebooks.execute('quick_start', {'OPTIONS': TRAIN}, folder, python)
    assert len(notebooks.rows(done, 'leak')) == 2
    assert (folder / 'runs' / 'baseline' / 'DONE').is_file()
