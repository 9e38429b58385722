"""Tests of the page of a run in a real browser: it loads nothing, shows all, and prints."""

import base64

import numpy as np
import pytest

from skinjax import figures, metrics, notebook, report
from skinjax.engine.writer import MetricWriter, write_json
from skinjax.predictions import Predictions

CLASSES, BIAS = ('benign', 'malignant'), {'ruler': ('absent', 'present')}


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    """The report of a finished run with curves, groups, a log and a picture."""
    work = tmp_path_factory.mktemp('reports') / 'run "1" <b>'
    work.mkdir()
    rng, n = np.random.default_rng(0), 60
    labels = np.arange(n) % 2
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.15), 0, 1)
    table = Predictions(np.arange(n).astype(str), labels, scores, {'ruler': np.arange(n) // 2 % 2})
    table.write_csv(work / 'predictions' / 'test.csv')
    block = metrics.evaluate_table(table, CLASSES, BIAS, 0.5, resamples=5)
    write_json(work / 'results.json', {'step': 9, 'splits': {'test': block}, 'remarks': ['<i>']})
    write_json(work / 'config.json', {'kind': 'train', 'name': '</pre><script>'})
    with MetricWriter(work) as log:
        for step in range(9):
            log.write(step, 'train', {'loss': 1 / (1 + step)})
    grid = figures.image_grid([np.zeros((4, 4, 3), np.uint8)])
    (work / 'figures').mkdir()
    (work / 'figures' / 'grid.png').write_bytes(grid)
    return report.build_run_report(work)


def test_a_report_shows_all_and_loads_nothing(opened, path):
    page = opened(path)
    assert page.find_element('css selector', 'h1').text == 'run "1" <b> (train)'
    shown = page.execute_script('return [...document.images].map((one) => one.naturalWidth)')
    assert len(shown) >= 5 and min(shown) > 50
    # The policy lets its style apply.
    assert page.execute_script('return getComputedStyle(document.body).maxWidth') == '992px'
    loaded = page.execute_script(
        'return performance.getEntriesByType("resource").map((entry) => entry.name)'
    )
    assert [name for name in loaded if not name.startswith('data:')] == []
    assert page.execute_script('return document.scripts.length') == 0
    page.find_element('css selector', 'summary').click()
    assert '</pre><script>' in page.find_element('css selector', 'pre').text


def test_a_report_prints(opened, path):
    assert len(base64.b64decode(opened(path).print_page())) > 20_000


def test_a_report_in_a_notebook_is_whole_and_its_links_stay_in_it(opened, path, tmp_path):
    cell = notebook.report(path.parent)._repr_html_()
    place = tmp_path / 'notebook.html'
    place.write_text(f'<!DOCTYPE html><title>notebook</title>{cell}', encoding='utf-8')
    page = opened(place)
    page.switch_to.frame(page.find_element('css selector', 'iframe'))
    page.find_elements('css selector', 'nav a')[-1].click()
    assert page.find_element('css selector', 'h1').text == 'run "1" <b> (train)'
    assert page.execute_script('return window.scrollY') > 100
    shown = page.execute_script('return [...document.images].map((one) => one.naturalWidth)')
    assert len(shown) >= 5 and min(shown) > 50
    page.switch_to.default_content()
