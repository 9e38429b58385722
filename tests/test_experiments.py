"""Experiments are found by name, told of in one form."""

import inspect
import re
from pathlib import Path

import pytest

from skinjax import config as configs
from skinjax import experiments
from tests.helpers import ROOT
from tests.test_configs import load

FOLDER = ROOT / 'configs'
NAMES = experiments.names()


def test_names_are_those_of_the_files():
    assert experiments.folder() == FOLDER
    assert [f'{name}.py' for name in NAMES] == sorted(path.name for path in FOLDER.glob('*.py'))


@pytest.mark.parametrize(
    ('given', 'file'),
    [
        ('skinjax:clgr', 'clgr.py'),
        ('skinjax:clgr:isic2017', 'clgr.py:isic2017'),
        ('skinjax:weighting:focal_cb+ohem', 'weighting.py:focal_cb+ohem'),
    ],
)
def test_a_name_is_a_file_wherever_one_is(given, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert experiments.locate(given) == str(FOLDER / file)


def test_a_file_stays_as_it_is(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert experiments.locate('configs/clgr.py:isic2017') == 'configs/clgr.py:isic2017'


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        (
            'skinjax:clg',
            r"^no experiment 'clg', known: audit.*, clgr, .*weighting; did you mean clgr\?$",
        ),
        ('skinjax:', "^no experiment '', known: audit"),
        ('configs/clg.py:isic2017', r"^no file 'configs/clg.py'; did you mean configs/clgr.py\?$"),
        ('configs/clgr', r"^no file 'configs/clgr'; did you mean configs/clgr.py"),
        ('clgr', r"^no file 'clgr'; did you mean skinjax:clgr\?$"),
        ('elsewhere/prepare.py', r"'elsewhere/prepare.py'; did you mean skinjax:prepare"),
        ('qqqq.py', "^no file 'qqqq.py'; skinjax:NAME finds"),
    ],
)
def test_near_names_are_told(given, text, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match=text):
        experiments.locate(given)


def test_kinds_are_all_told():
    found = experiments.kinds()
    assert set(found) == set(configs.KINDS)
    assert all(5 < len(text) < 100 and '"' not in text for text in found.values())


@pytest.mark.parametrize('width', [40, 120])
def test_the_overview_has_every_name_on_a_line_of_its_own(width):
    lists = experiments.overview(width).split('\n\n')[2:4]
    lines = [line for text in lists for line in text.splitlines()[1:]]
    assert [line.split()[0] for line in lines] == [*NAMES, *experiments.kinds()]
    if width == 120:
        assert all(len(line) <= width for line in lines)


def test_what_to_begin_with_can_be_begun_with():
    for text, _ in experiments.START:
        located = experiments.locate(text.split()[0].removeprefix('--config='))
        path, _, variant = located.partition(':')
        module = load(Path(path))
        assert configs.resolve(module.get_config(*filter(None, [variant]))).kind in configs.KINDS


@pytest.mark.parametrize('name', NAMES)
def test_the_docstring_names_the_variants_that_there_are(name):
    """Those in capitals stand for names; where none is told, none is taken."""
    about, get_config = experiments.read(name), load(FOLDER / f'{name}.py').get_config
    assert about.summary and about.command
    if not inspect.signature(get_config).parameters:
        assert not about.variants
        return
    for variant in about.variants:
        if not variant.isupper():
            assert get_config(variant).kind in configs.KINDS
    if not about.variants:
        with pytest.raises(ValueError, match='has none'):
            get_config('other')


def test_variants_of_a_list_and_of_a_table(tmp_path, monkeypatch):
    docs = {
        'listed': 'One.\n\n    run --config=configs/listed.py\n\nVariants: a, b_c,\nSOURCE; of.\n',
        'table': "Two.\n\n    ''     first\n    a, b   second\n           line\n    long, name\n"
        '           third\n\n    run --config=configs/table.py:a \\\n        --x=1\n',
        'plain': 'Three.\n\nMeasured: two\nminutes.\n\nMore.\n',
    }
    for name, text in docs.items():
        (tmp_path / f'{name}.py').write_text(f'"""{text}"""\n', encoding='utf-8')
    monkeypatch.setattr(experiments, 'folder', lambda: tmp_path)
    listed, plain, table = map(experiments.read, experiments.names())
    assert listed.variants == ('a', 'b_c', 'SOURCE')
    assert table.variants == ('a', 'b', 'long', 'name')
    assert table.command == 'run --config=configs/table.py:a --x=1'
    assert plain == experiments.Experiment('plain', 'Three.', '', (), 'two minutes.')


def test_the_table_of_experiments_is_that_of_the_docstrings():
    text = (FOLDER / 'README.md').read_text(encoding='utf-8')
    assert text == experiments.table(), 'python -m skinjax.experiments > configs/README.md'
    rows = re.findall(r'^\| \[(\w+)\]\((\w+\.py)\) \|', text, re.M)
    assert rows == [(name, f'{name}.py') for name in NAMES]


def test_an_experiment_is_loaded_as_the_command_line_does(monkeypatch):
    config = experiments.load('skinjax:clgr:cameras', {'train.epochs': 3, 'data.n_test': 7})
    known = load(FOLDER / 'clgr.py').get_config('cameras')
    assert (config.train.epochs, config.data.n_test, known.train.epochs) == (3, 7, 9)
    known.train.epochs, known.data.n_test = 3, 7
    assert config.to_dict() == known.to_dict() and config.is_locked
    monkeypatch.chdir(ROOT)
    assert (
        experiments.load('configs/clgr.py').to_dict() == experiments.load('skinjax:clgr').to_dict()
    )


@pytest.mark.parametrize(
    ('name', 'fields', 'text'),
    [
        ('skinjax:clg', {}, r'did you mean clgr\?$'),
        ('skinjax:clgr:isic2021', {}, "unknown variant 'isic2021' of clgr"),
        ('skinjax:clgr', {'train.epoch': 1}, "did you mean 'epochs'"),
        ('skinjax:clgr', {'objective.name': 'tabe'}, "made for 'tabe'"),
    ],
)
def test_what_cannot_be_loaded_is_told(name, fields, text):
    with pytest.raises(ValueError, match=text):
        experiments.load(name, fields)
