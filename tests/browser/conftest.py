"""A real Chromium without a screen, where there is one; it loads files and reaches no network."""

import shutil
import tempfile

import pytest

FLAGS = (
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--window-size=1100,1000',
)


@pytest.fixture(scope='session')
def driver():
    """Chromium, driven by the chromedriver beside it; nothing is downloaded."""
    webdriver = pytest.importorskip('selenium.webdriver', reason='needs selenium')
    program = shutil.which('chromium') or shutil.which('google-chrome')
    server = shutil.which('chromedriver')
    if not program or not server:
        pytest.skip('needs chromium and chromedriver: apt-get install chromium-driver')
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # On failure Chromium may still write to its folder while it is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f'--user-data-dir={profile}'):
            options.add_argument(flag)
        options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
        with webdriver.Chrome(options, webdriver.ChromeService(server)) as found:
            yield found


@pytest.fixture
def opened(driver):
    """path -> the browser with that page; the page must not complain in the console."""

    def load(path):
        driver.get(path.as_uri())
        return driver

    driver.get_log('browser')
    yield load
    assert driver.get_log('browser') == []
