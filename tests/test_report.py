"""Tests of tables, figures and the page that shows a run."""

import base64
import html.parser
import json
import re

import cv2
import matplotlib
import numpy as np
import pytest

from skinjax import document, figures, metrics, report, tables
from skinjax.data.records import DataSet, Records
from skinjax.engine.writer import MetricWriter, write_json
from skinjax.measures import insertion
from skinjax.pictures import embed
from skinjax.predictions import Predictions

CLASSES = ('benign', 'malignant')
BIAS = {'ruler': ('absent', 'present')}


class Page(html.parser.HTMLParser):
    """What a browser would see: elements still open, attributes by tag, and text."""

    VOID = ('meta', 'img', 'br', 'link', 'input', 'hr')

    def __init__(self, path):
        super().__init__()
        self.open, self.found, self.words = [], {}, []
        self.feed(path.read_text('utf-8'))
        self.text = ' '.join(self.words)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.setdefault(tag, []).append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != 'style' and data.strip():
            self.words.append(data.strip())


def decode(image):
    """Pixels of a PNG or JPEG in memory."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels


def colours(image):
    """How many pixels of a figure come close to each of the palette's colours."""
    pixels = decode(image)[..., ::-1].astype(int)
    wanted = [[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in figures.COLOURS]
    return [int((np.abs(pixels - w).max(-1) < 12).sum()) for w in wanted]


def curve(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return labels, 1 / (1 + np.exp(-labels - rng.normal(size=n)))


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (None, '–'),
        (float('nan'), '–'),
        (0.91249, '0.912'),
        (49.5, '49.5'),
        (0.00012, '1.2e-04'),
        (0.0, '0.000'),
        (1234, '1234'),
        (True, 'yes'),
        ({'value': 0.9, 'low': 0.85, 'high': 0.9412}, '0.900 (0.850–0.941)'),
        ({'value': 0.9, 'low': None, 'high': None}, '0.900'),
        ({'value': None, 'low': None, 'high': None}, '–'),
        ({'mean': 0.9, 'sd': 0.0131}, '0.900 ± 0.013'),
        ({'mean': 0.9, 'sd': None}, '0.900'),
        ({'ruler': ['no', 'yes']}, 'ruler: no, yes'),
    ],
)
def test_cells(value, text):
    assert tables.format_value(value) == text


def test_the_three_tables():
    header, rows = ['method', 'AUC'], [['a|b', 0.5], ['<c>', None]]
    assert tables.markdown_table(header, rows) == (
        '| method | AUC |\n| --- | ---: |\n| a\\|b | 0.500 |\n| <c> | – |\n'
    )
    assert tables.console_table(header, rows) == (
        'method    AUC\n------  -----\na|b     0.500\n<c>         –\n'
    )
    page = tables.html_table(header, rows, 'A & B')
    assert '<caption>A &amp; B</caption>' in page
    assert '<th scope="row">&lt;c&gt;</th><td class="n">–</td>' in page
    long = tables.html_table(header, [['a', 'b ' * 20], ['c' * 30, '']])
    assert '<th scope="row">a</th><td class="long">b b' in long
    assert f'<th scope="row">{"c" * 30}</th><td></td>' in long
    assert tables.console_table(['x', 'y'], []) == 'x  y\n-  -\n'
    with pytest.raises(ValueError, match='1 cells under 2'):
        tables.markdown_table(header, [['a']])


def test_columns_of_numbers_stand_on_the_right_even_as_text():
    rows = [['val', '0.477 to 0.799', '4'], ['atlas', '-', '12']]
    assert tables.console_table(['split', 'interval', 'n'], rows) == (
        'split        interval   n\n-----  --------------  --\n'
        'val    0.477 to 0.799   4\natlas               -  12\n'
    )


def test_roc_figure_draws_every_curve_and_reader():
    image = figures.roc_figure(
        {'plain': curve(), 'ruler $x$': curve(seed=1), '_one': (np.ones(4, int), np.ones(4))},
        {'MClass-D': (0.3998, 0.7411)},
        title='$',
    )
    seen = colours(image)
    assert min(seen[:3]) > 20
    assert seen[3] == 0


def test_roc_of_many_rows_stays_small():
    assert len(figures.roc_figure({'all': curve(40_000)})) < 60_000


def test_a_figure_is_the_same_file_again_and_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    first = figures.reliability_figure({'val': curve()})
    assert first == figures.reliability_figure({'val': curve()})
    assert dict(matplotlib.rcParams) == before
    assert colours(first)[0] > 20


def test_training_figure_has_a_panel_for_each_metric():
    records = [
        {'step': s, 'split': 'train', 'time': 0.0, 'loss': 1 / (1 + s), 'rate': None}
        for s in range(40)
    ]
    one = decode(figures.training_figure(records))
    records += [{'step': 39, 'split': 'val', 'time': 0.0, 'auc': 0.9, 'loss': 0.2}]
    two = decode(figures.training_figure(records))
    assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2)
    assert decode(figures.training_figure([])).size


def test_groups_and_comparison_draw_points_and_intervals():
    groups = metrics.group_metrics(table(), 'ruler', BIAS['ruler'], CLASSES, resamples=0)
    seen = colours(figures.group_figure(groups))
    assert seen[0] > 50
    assert seen[1] > 50
    values = {'Baseline': {'a': [0.7, 0.8, 0.75], 'b': [0.6]}, 'CLGR': {'a': [0.9, None, 0.8]}}
    seen = colours(figures.comparison_figure(values, chance=0.5))
    assert min(seen[:2]) > 50
    assert seen[2] == 0


def test_image_grid_shows_the_pixels():
    blocks = [np.full((8, 8, 3), (0, 114, 178), np.uint8), np.full((8, 8, 3), (0.0, 0.62, 0.45))]
    seen = colours(figures.image_grid(blocks, ['a', '$b'], columns=2))
    assert seen[0] > 2000
    assert seen[2] > 2000
    with pytest.raises(ValueError, match='2 images and 1 titles'):
        figures.image_grid(blocks, ['a'])


def table(n=60):
    labels, scores = curve(n)
    ids = np.array([f'row{k}' for k in range(n)])
    return Predictions(ids, labels, scores, {'ruler': np.arange(n) // 2 % 2})


@pytest.fixture
def workdir(tmp_path):
    """A finished run as evaluation leaves it."""
    write_json(tmp_path / 'config.json', {'kind': 'train', 'name': '<script>alert(1)</script>'})
    with MetricWriter(tmp_path) as log:
        for step in range(20):
            log.write(step, 'train', {'loss': 1 / (1 + step)})
    splits = {}
    for name in ('val', 'atlas'):
        table().write_csv(tmp_path / 'predictions' / f'{name}.csv')
        splits[name] = metrics.evaluate_table(table(), CLASSES, BIAS, 0.4, resamples=20)
    probe = {'auc': 0.731, 'low': 0.7, 'high': 0.76, 'n': 60, 'reason': None, 'dropped': [7]}
    blind = {'auc': None, 'low': None, 'high': None, 'n': 3, 'reason': 'needs two values'}
    labels, scores = curve()
    results = {
        'step': 1000,
        'seed': 3,
        'threshold': {'value': 0.4, 'rule': 'youden', 'split': 'val'},
        'splits': splits,
        'probes': {'ruler': {'split': 'atlas', 'linear': probe, 'mlp': blind}},
        'insertion': {'ruler': insertion(scores, np.minimum(scores + 0.1, 1), labels)},
        'data': {'name': 'synthetic', 'bayes_auc': 0.97},
        'versions': {'jax': '0.10'},
        'novelty': {'x': 1},
    }
    write_json(tmp_path / 'results.json', results)
    (tmp_path / 'figures').mkdir()
    grid = figures.image_grid([np.zeros((4, 4, 3), np.uint8)])
    (tmp_path / 'figures' / 'saliency_panel.png').write_bytes(grid)
    return tmp_path


def test_the_report_of_a_run_shows_its_figures(workdir):
    path = report.build_run_report(workdir)
    page = Page(path)
    auc = json.loads((workdir / 'results.json').read_text())['splits']['atlas']['auc']
    for expected in (
        tables.format_value(auc),
        'After 1000 steps, seed 3.',
        'Operating threshold 0.400 (rule youden, chosen on val).',
        'Worst group and gap',
        '0.731 (0.700–0.760)',
        'needs two values',
        'too rare: values 7',
        'Prediction shift',
        'bayes_auc',
        'saliency panel',
        '"x": 1',
        '"name": "<script>alert(1)</script>"',
    ):
        assert expected in page.text
    assert 'script' not in page.found
    # ROC, calibration, two group figures, training and the picture.
    assert len(page.found['img']) == 6


def test_the_page_shows_the_curves_that_lie_in_figures(workdir):
    results = json.loads((workdir / 'results.json').read_text())
    results['splits']['atlas']['share_of_bayes'] = 0.8768
    write_json(workdir / 'results.json', results)
    for _ in range(2):  # a second page does not show them twice
        page = Page(report.build_run_report(workdir))
        sources = [image['src'] for image in page.found['img']]
        for name in ('roc', 'calibration'):
            data = (workdir / 'figures' / f'{name}.png').read_bytes()
            assert sources.count(f'data:image/png;base64,{base64.b64encode(data).decode()}') == 1
    assert 'share of Bayes AUC' in page.text and '0.877' in page.text


def test_the_report_stands_alone_and_can_be_read_by_all(workdir):
    path = report.build_run_report(workdir)
    source, page = path.read_text('utf-8'), Page(path)
    assert path.stat().st_size < 2_000_000
    assert all(link['href'].startswith('#') for link in page.found['a'])
    ids = {section['id'] for section in page.found['section']}
    assert {link['href'][1:] for link in page.found['a']} == ids
    for image in page.found['img']:
        assert image['alt']
        kind, _, data = image['src'].partition(',')
        assert kind == 'data:image/png;base64'
        assert decode(base64.b64decode(data)).size
    assert not {'link', 'script', 'iframe'} & set(page.found)
    assert not re.search(r'url\(|@import|https?://', source)
    assert page.found['html'][0]['lang'] == 'en'
    assert all(cell['scope'] in ('row', 'col') for cell in page.found['th'])
    assert 'prefers-color-scheme: dark' in source
    assert '@media print' in source


@pytest.mark.parametrize('left', [(), ('config.json',), ('metrics.jsonl',), ('predictions',)])
def test_absent_parts_are_left_out(workdir, left):
    for entry in workdir.iterdir():
        if entry.name not in left:
            entry.rename(workdir.parent / f'{workdir.name}-{entry.name}')
    page = Page(report.build_run_report(workdir, title='Only a part'))
    assert 'Only a part' in page.text
    assert len(page.found.get('section', [])) == len(left)


@pytest.mark.parametrize(
    'results',
    [
        {'splits': {}},
        {'splits': {'val': {'n': 3}}},
        {'splits': {'val': {'groups': {'ruler': {'cells': [], 'values': {}}}}}},
        {'threshold': None, 'probes': None, 'insertion': None, 'data': None, 'step': None},
    ],
)
def test_blocks_may_be_missing_or_empty(tmp_path, results):
    write_json(tmp_path / 'results.json', results)
    assert Page(report.build_run_report(tmp_path)).found['h1'] == [{}]


def test_several_classes_have_their_tables_and_curves(tmp_path):
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(3), 40)
    predictions = Predictions(np.arange(40), np.arange(40) % 3, scores)
    predictions.write_csv(tmp_path / 'predictions' / 'test.csv')
    block = metrics.evaluate_table(predictions, ('mel', 'nev', 'sk'), {}, resamples=10)
    write_json(tmp_path / 'results.json', {'splits': {'test': block}})
    page = Page(report.build_run_report(tmp_path))
    assert 'Confusion in test' in page.text
    assert tables.format_value(block['classes']['nev']['f1']) in page.text
    assert len(page.found['img']) == 2


def test_examples_of_the_data_and_of_a_folder(tmp_path):
    def read(row):
        return {'image': np.full((300, 200, 3), (0, 114, 178) if row else (0, 158, 115), np.uint8)}

    labels = np.array([1] + [0] * 9)
    records = Records(np.arange(10).astype(str), labels, {}, np.arange(10), read)
    data = DataSet('x', CLASSES, {}, {'test': records})
    real = tmp_path / 'real'
    real.mkdir()
    cv2.imwrite(str(real / 'a.png'), np.full((40, 40, 3), (0, 94, 213), np.uint8))
    (real / 'notes.txt').write_text('no picture')
    run = tmp_path / 'run'
    run.mkdir()
    page = Page(report.build_run_report(run, data, real))
    made, beside = (base64.b64decode(i['src'].partition(',')[2]) for i in page.found['img'])
    seen = colours(made)
    # Six benign images and the only malignant one.
    assert seen[0] == pytest.approx(6 * seen[2], rel=0.05)
    assert seen[2] > 1000
    assert colours(beside)[1] > 1000
    missing = Page(report.build_run_report(run, data, tmp_path / 'nowhere'))
    assert 'No pictures were found' in missing.text


def test_large_pictures_shrink_and_those_beyond_the_budget_are_named(workdir):
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    for k in range(4):
        cv2.imwrite(str(workdir / 'figures' / f'noise{k}.png'), noise)
    small = embed(workdir / 'figures' / 'noise0.png')
    assert max(decode(small).shape) == 1100
    path = report.build_run_report(workdir)
    assert path.stat().st_size < 2_000_000
    assert 'figures/noise3.png' in Page(path).text


def test_damaged_files_are_named(workdir):
    (workdir / 'figures' / 'torn.png').write_bytes(b'\x89PNG')
    with pytest.raises(ValueError, match=r'torn\.png'):
        report.build_run_report(workdir)
    (workdir / 'results.json').write_text('{"splits"')
    with pytest.raises(ValueError, match=r'results\.json: not valid JSON'):
        report.build_run_report(workdir)
    (workdir / 'results.json').write_text('[]')
    with pytest.raises(ValueError, match='found list'):
        report.build_run_report(workdir)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        report.build_run_report(workdir / 'nowhere')


def test_sections_by_hand(tmp_path):
    image = figures.image_grid([np.zeros((2, 2, 3), np.uint8)])
    section = document.Section(
        'A < B',
        'One.\n\nTwo.',
        [document.Table('T', ['a'], [[1]])],
        [document.Figure(image, 'black "square"', 'C')],
        'code',
    )
    document.write_report(tmp_path / 'deep' / 'page.html', 'T & T', [section])
    page = Page(tmp_path / 'deep' / 'page.html')
    assert page.words[:6] == ['T & T', 'T & T', 'A < B', 'One.', 'Two.', 'T']
    assert page.found['img'][0]['alt'] == 'black "square"'
    assert 'nav' not in page.found
