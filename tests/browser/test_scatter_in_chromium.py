"""Tests of the scatter as readers use it: pointer, keys, filters, table, print, light and dark."""

import base64

import cv2
import numpy as np
import pytest

from tests.browser import pages

NAMES = ('cluster', 'class', 'ruler')


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return pages.write(tmp_path_factory.mktemp('scatter') / 'page.html', pages.part())


@pytest.fixture
def page(opened, path):
    return opened(path)


def one(page, selector):
    return page.find_element('css selector', selector)


def choose(page, label, value):
    """A value of the control with that label."""
    from selenium.webdriver.support.ui import Select

    found = page.find_element('xpath', f'//label[starts-with(., "{label}")]/select')
    Select(found).select_by_visible_text(value)


def shown(page):
    return len(page.find_elements('css selector', '.plot > svg .mark'))


def title(page):
    """Of the chosen image, or what stands in its place."""
    return one(page, '.chosen').text.splitlines()[0]


def facts(page):
    texts = [
        [found.text for found in page.find_elements('css selector', f'.chosen {tag}')]
        for tag in ('dt', 'dd')
    ]
    return dict(zip(*texts, strict=True))


def press(page, *keys):
    one(page, '.plot > svg').send_keys(*keys)


def expected(row):
    """The facts of an image as columns() gives them."""
    return {name: values[row] or 'unknown' for name, values in pages.columns().items()}


def test_every_point_is_shown_with_a_legend(page):
    assert shown(page) == pages.N
    assert one(page, '[role=status]').text == '60 of 60 images shown.'
    legend = [found.text for found in page.find_elements('css selector', '.legend li')]
    assert legend == ['cluster:', '0 (20)', '1 (20)', '2 (20)']
    assert title(page) == 'No image is chosen.'
    assert not one(page, '.scatter table').is_displayed()


def test_a_click_shows_image_map_and_facts(page):
    from selenium.webdriver import ActionChains

    points = page.execute_script(
        'return JSON.parse(document.querySelector(".scatter script").textContent).points'
    )
    # The one that is furthest to the right cannot be mistaken for another.
    row = int(np.argmax([x for x, _ in points]))
    mark = page.find_elements('css selector', '.plot > svg .mark')[row]
    ActionChains(page).move_to_element(mark).click().perform()
    assert title(page) == f'image {row}'
    assert facts(page) == expected(row)
    pictures = page.find_elements('css selector', '.chosen img')
    assert [picture.get_attribute('alt') for picture in pictures] == [
        f'Image image {row}',
        f'Map over the image image {row}',
    ]
    widths = [picture.get_property('naturalWidth') for picture in pictures]
    assert widths == [32, 32]
    ring = one(page, '.ring').rect
    assert abs(ring['x'] + ring['width'] / 2 - mark.rect['x'] - mark.rect['width'] / 2) < 2
    # Far from all points a click changes nothing.
    svg = one(page, '.plot > svg')
    ActionChains(page).move_to_element_with_offset(svg, 0, 150).click().perform()
    assert title(page) == f'image {row}'


def test_filters_and_what_they_say(page):
    columns = pages.columns()
    press(page, 'o', '\ue011')  # a key that means nothing; Home
    assert title(page) == 'image 0'
    choose(page, 'cluster', '2')
    choose(page, 'ruler', 'yes')
    rows = [
        k for k in range(pages.N) if columns['cluster'][k] == '2' and columns['ruler'][k] == 'yes'
    ]
    assert shown(page) == len(rows) > 0
    told = one(page, '[role=status]').text
    assert told == f'{len(rows)} of 60 images shown: cluster 2, ruler yes.'
    assert title(page) == 'No image is chosen.'  # the one chosen is not among them
    assert [found.text for found in page.find_elements('css selector', '.legend li')] == [
        'cluster:',
        f'2 ({len(rows)})',
    ]
    one(page, 'summary').click()
    listed = page.find_elements('css selector', '.scatter tbody tr')
    assert [row.text.split()[1] for row in listed] == [str(k) for k in rows]
    page.find_elements('css selector', '.scatter tbody button')[1].click()
    assert title(page) == f'image {rows[1]}'
    one(page, '.all').click()
    assert shown(page) == pages.N
    assert len(page.find_elements('css selector', '.scatter tbody tr')) == 50
    choose(page, 'class', 'nevus')
    choose(page, 'ruler', 'yes')  # only of even rows, which are melanomas
    assert one(page, '[role=status]').text.startswith('0 of 60')
    press(page, '\ue011', '\ue014', '\ue007')
    assert title(page) == 'No image is chosen.'


def test_colour_and_shape_follow_a_column(page):
    def looks():
        marks = page.find_elements('css selector', '.plot > svg .mark')
        return [(mark.get_attribute('class'), mark.get_attribute('d')) for mark in marks]

    for name in NAMES:
        choose(page, 'Colour and shape', name)
        of = {}
        for look, value in zip(looks(), pages.columns()[name], strict=True):
            of.setdefault(value, set()).add(look)
        assert all(len(found) == 1 for found in of.values())
        for k in (0, 1):  # neither colours nor shapes alone are shared, but for what is unknown
            known = [next(iter(found))[k] for value, found in of.items() if value]
            assert len(set(known)) == len(known)
    assert [look for look, _ in of['']] == ['mark unknown']
    legend = [found.text for found in page.find_elements('css selector', '.legend li')]
    assert legend[3] == f'unknown ({pages.columns()["ruler"].count("")})'


def test_the_keyboard_reaches_everything(page):
    left, up, right, enter, escape = '\ue012', '\ue013', '\ue014', '\ue007', '\ue00c'
    later, earlier, end, home = '\ue00f', '\ue00e', '\ue010', '\ue011'
    for keys, row in (((enter,), 0), ((later, later), 2), ((earlier,), 1), ((end,), 59)):
        press(page, *keys)
        assert title(page) == f'image {row}'
    press(page, later)
    assert title(page) == 'image 59'
    x, y = pages.points().T
    for key, furthest in ((right, x.argmax()), (left, x.argmin()), (up, y.argmax())):
        press(page, home, *[key] * pages.N)
        assert title(page) == f'image {furthest}'
    press(page, enter)
    chosen = page.switch_to.active_element
    assert chosen.get_attribute('class') == 'chosen'
    chosen.send_keys(escape)
    assert page.switch_to.active_element.tag_name == 'svg'


def test_every_control_has_a_name_and_can_be_reached(page):
    from selenium.webdriver.common.action_chains import ActionChains

    names, tags = [], []
    for _ in range(8):
        ActionChains(page).send_keys('\ue004').perform()
        found = page.switch_to.active_element
        names.append(found.accessible_name)
        tags.append(found.tag_name)
    assert names[:5] == ['Colour and shape', *NAMES, 'Show all']
    assert tags[5:7] == ['svg', 'summary']
    assert names[5].startswith('Scatter of 60 images')
    assert one(page, '.chosen').get_attribute('aria-live') == 'polite'


def test_what_users_wrote_is_shown_as_they_wrote_it(opened, tmp_path):
    columns = {'name <b>': [pages.TRAP, 'b', pages.TRAP, 'b']}
    grey, zero = np.full((8, 8, 3), 120, np.uint8), np.zeros((4, 4))
    part = pages.scatter.view(
        np.eye(4)[:, :2], lambda row: grey, lambda row: zero, columns, [pages.TRAP] * 4, False
    )
    page = opened(pages.write(tmp_path / 'page.html', part))
    press(page, '\ue011')
    assert one(page, '.chosen h3').get_property('textContent') == pages.TRAP
    assert facts(page) == {'name <b>': pages.TRAP}
    choose(page, 'name <b>', pages.TRAP)
    assert shown(page) == 2
    assert pages.TRAP in one(page, '[role=status]').text
    assert page.execute_script('return window.bad === undefined')


def test_markup_that_slips_through_cannot_run(opened, driver, tmp_path):
    """The policy stops a script, a handler and a picture from elsewhere."""
    page = opened(pages.write(tmp_path / 'page.html', pages.document.Html(pages.TRAP)))
    assert page.execute_script('return window.bad === undefined')
    told = ' '.join(entry['message'] for entry in driver.get_log('browser'))
    assert 'Content Security Policy' in told


def test_two_scatters_do_not_disturb_each_other(opened, tmp_path):
    path = pages.write(tmp_path / 'page.html', pages.part(30), pages.part(40))
    page = opened(path)
    first, second = page.find_elements('css selector', '.scatter')
    second.find_element('css selector', '.plot > svg').send_keys('\ue010')
    assert 'image 39' in second.text and 'No image is chosen.' in first.text
    choose(page, 'cluster', '1')
    assert '10 of 30 images shown' in first.text and '40 of 40 images shown' in second.text


def test_without_scripts_the_table_remains(driver, path):
    driver.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': True})
    try:
        driver.get(path.as_uri())
        assert one(driver, '.scatter table').is_displayed()
        assert not one(driver, '.live').is_displayed()
        assert 'need JavaScript' in one(driver, '.scatter').text
        driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': 'print'})
        assert one(driver, '.scatter table').is_displayed()
    finally:
        driver.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': False})
        driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': ''})


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1100, 400])
def test_it_looks_right(opened, path, tmp_path, scheme, width):
    """In both schemes, wide and narrow; and print is dark on white in both."""
    page = opened(path)
    size = {'width': width, 'height': 1400, 'deviceScaleFactor': 1, 'mobile': False}
    wanted = {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]}
    try:
        page.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', wanted)
        press(page, '\ue011')
        assert page.execute_script('return document.documentElement.scrollWidth') <= width
        page.save_screenshot(str(tmp_path / 'page.png'))
        drawn = cv2.imread(str(tmp_path / 'page.png'))
        assert drawn is not None and drawn.shape[:2] == (1400, width)
        assert np.median(drawn) > 250 if scheme == 'light' else np.median(drawn) < 40
        # Blue, vermilion and green of the three clusters, in BGR.
        for colour in ((178, 114, 0), (0, 94, 213), (115, 158, 0)):
            assert (np.abs(drawn.astype(int) - colour).max(axis=-1) < 8).sum() > 100
        pdf = base64.b64decode(page.print_page())
        assert pdf.startswith(b'%PDF') and len(pdf) > 10_000
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': 'print', **wanted})
        for name in ('.plot > svg', '.legend', '.chosen img'):
            assert one(page, name).is_displayed()
        assert not one(page, '.controls').is_displayed()
        assert not one(page, '.scatter details').is_displayed()
        ink = page.execute_script('return getComputedStyle(document.body).color')
        assert ink == 'rgb(26, 26, 26)'
    finally:
        page.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': '', 'features': []})
