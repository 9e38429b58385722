"""The audit report as its reader uses it: the findings, a point, a filter, on paper."""

import base64

import cv2
import pytest

from skinjax import audit
from skinjax.engine.writer import read_json
from tests.audits import toys


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """The audit of a model that looks at a stripe, the flag `ruler`."""
    folder = tmp_path_factory.mktemp('audit') / 'w'
    options = {**toys.QUICK, 'bias': {'ruler': ('absent', 'present')}}
    audit.audit(toys.shortcut, toys.striped(), folder, classes=toys.CLASSES, **options)
    return folder


@pytest.fixture
def page(opened, work):
    return opened(work / 'report.html')


def texts(page, selector):
    return [found.text for found in page.find_elements('css selector', selector)]


def test_the_parts_stand_in_their_order(page, work):
    headings = texts(page, 'main h2')
    assert [heading[0] for heading in headings if heading[0].isdigit()] == sorted(
        heading[0] for heading in headings if heading[0].isdigit()
    )
    links = page.find_elements('css selector', 'nav a')
    for link in links:  # each leads to a part that exists
        target = link.get_attribute('href').partition('#')[2]
        assert page.find_elements('id', target)
    assert len(links) == len(headings) >= 6
    told = read_json(work / 'results.json')['findings'][0]
    assert told['text'][:40] in page.find_element('tag name', 'main').text


def test_the_figures_of_the_summary_are_seen_at_once(page):
    """Nothing is scrolled sideways to them."""
    edge, right = page.execute_script(
        'const cells = document.querySelectorAll("main section tbody tr > :nth-child(2)");'
        'return [document.body.getBoundingClientRect().right,'
        ' Math.max(...[...cells].slice(0, 6).map((one) => one.getBoundingClientRect().right))]'
    )
    assert 0 < right < edge


def test_a_point_is_chosen_and_the_rest_filtered_away(page, tmp_path):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import Select

    plot = page.find_element('css selector', '.plot > svg')
    marks = plot.find_elements('css selector', '.mark')
    page.execute_script('arguments[0].scrollIntoView({block: "center"})', plot)
    ActionChains(page).move_to_element(marks[0]).click().perform()
    assert texts(page, '.chosen')[0].startswith('toy-')
    path = tmp_path / 'chosen.png'
    page.save_screenshot(str(path))
    picture = cv2.imread(str(path))
    assert picture is not None and picture.std() > 5
    labels = page.find_elements('xpath', '//label[starts-with(., "ruler")]/select')
    Select(labels[0]).select_by_visible_text('present')
    status = page.find_element('css selector', '[role=status]').text
    left = len(page.find_elements('css selector', '.plot > svg .mark'))
    assert status.startswith(f'{left} of {len(marks)} ') and 0 < left < len(marks)


def test_it_prints_with_pictures(page):
    assert len(base64.b64decode(page.print_page())) > 50_000
