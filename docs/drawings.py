"""Draws the pictures of docs/figures out of finished runs; docs/figures.py makes the runs."""

import csv
import dataclasses
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from skinjax import figures
from skinjax.data import gallery, images, writing
from skinjax.engine.writer import read_metrics
from skinjax.styling import recolour

CHROMIUM = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
    '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--hide-scrollbars', '--window-size=1100,3000',
)  # fmt: skip
# Stand for photographs of dark skin: images of ISIC 2017, and angles that they are recoloured to.
PHOTOGRAPHS = {'ISIC_0000431': -15.0, 'ISIC_0010575': 5.0, 'ISIC_0000001': 15.0}
STYLED = ('ISIC_0000357', 'ISIC_0009430', 'ISIC_0010483', 'ISIC_0013249')


@dataclasses.dataclass(frozen=True)
class Place:
    """Where runs are, and what --root and --weights say ('' for nothing)."""

    runs: Path
    root: str = ''
    weights: str = ''


def taken(file: str, top: float = 0.0, bottom: float = 1.0, scale: float = 1.0):
    """A drawing: rows from `top` to `bottom` (shares of the height) of RUNS/FILE, made smaller."""

    def draw(place: Place) -> np.ndarray:
        image = decoded((place.runs / file).read_bytes())
        rows = slice(round(top * len(image)), round(bottom * len(image)))
        return cv2.resize(image[rows], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

    return draw


def lesions(place: Place) -> np.ndarray:
    """All that the synthetic lesions have."""
    del place
    return gallery.sheet(gallery.synthetic_rows())


def training(run: str, place: Place) -> np.ndarray:
    """The curves of RUN's report."""
    return decoded(figures.training_figure(read_metrics(place.runs / run / 'metrics.jsonl')))


def page(run: str, findings: int, place: Place) -> np.ndarray:
    """The first part of RUN's report, down to so many of its findings, as Chromium shows it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which('chromium') or ''
    server = webdriver.ChromeService(shutil.which('chromedriver'))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*CHROMIUM, f'--user-data-dir={profile}'):
            options.add_argument(flag)
        with webdriver.Chrome(options, server) as browser:
            browser.get((place.runs / run / 'report.html').resolve().as_uri())
            part = browser.find_element('id', 's0')
            last = part.find_elements('css selector', 'li.warning, li.note')[:findings][-1]
            below = last.location['y'] + last.size['height'] - part.location['y']
            image = decoded(part.screenshot_as_png)[: int(below)]
    white = cv2.copyMakeBorder(image, 4, 8, 24, 24, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return cv2.resize(white, None, fx=0.85, fy=0.85, interpolation=cv2.INTER_AREA)


def photographs(place: Place) -> None:
    """RUNS/photographs: recoloured images in the place of photographs of dark skin."""
    folder, root = place.runs / 'photographs', Path(place.root)
    rows = []
    for name, angle in PHOTOGRAPHS.items():
        image = images.decode(root / 'images' / f'{name}.jpg', 256)
        mask = images.decode_mask(root / 'masks' / f'{name}.png', 256)
        writing.write_images(
            {'image': recolour.recolour(image, mask, angle), 'mask': mask}, folder, name
        )
        files = {'image': f'images/{name}.png', 'mask': f'masks/{name}.png'}
        rows.append({'id': name, **files, 'licence': 'CC0, recoloured', 'source_id': name})
    writing.write_csv(folder / 'styles.csv', rows)


def methods(place: Place) -> np.ndarray:
    """Four lesions, their photographs, and what the two methods of style transfer make of them."""
    tiles, titles = [], []
    rows = {run: _gate(place.runs / run) for run in ('style_transfer', 'style_original')}
    for name in STYLED:
        photo = rows['style_transfer'][name]['photo']
        tiles += [images.decode(Path(place.root) / 'images' / f'{name}.jpg', 160)]
        tiles += [images.decode(place.runs / 'photographs' / 'images' / f'{photo}.png', 160)]
        titles += [name, 'photograph']
        for run, of_run in rows.items():
            row = of_run[name]
            folder = place.runs / run / ('rejected/images' if row['reason'] else 'images')
            tiles += [images.decode(folder / f'{row["id"]}.png', 160)]
            titles += [f'{run.removeprefix("style_")}: {float(row["structure"]):.2f}']
    sheet = decoded(figures.image_grid(tiles, titles, 8))
    return cv2.resize(sheet, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)


def _gate(run: Path) -> dict[str, dict[str, str]]:
    """What the gate measured of each image."""
    with (run / 'per_image' / 'gate.csv').open(encoding='utf-8') as file:
        return {row['content']: row for row in csv.DictReader(file)}


def decoded(png: bytes) -> np.ndarray:
    """RGB."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1]
