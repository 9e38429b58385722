"""Artefacts cut out of photographs, which the editor 'insert' lays over other pictures.

A folder of them has one of two forms:

KIND/*.png    cut-outs with transparency (RGBA) of a picture of about 600 x 450 pixels; KIND is one
              of KINDS
data/artefacts/meta.json    the repository `dermatoscopic-artefact-insertion` of Katsch, Rinner and
              Tschandl, "Comparison of convolutional neural network architectures for robustness
              against common artefacts in dermatoscopic images" (Dermatology Practical & Conceptual,
              2022; templates under CC BY-NC 4.0): rulers and bubbles as pairs of photographs, with
              the artefact and retouched by hand, and ink on white

Of a pair, what is darker with the artefact multiplies the picture, w / o, and what is lighter
brightens it, 1 - (1 - w) / (1 - o): neither leaves the range of colours, as the published
difference w - o does on other skin.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

KINDS = {'ruler': 'ruler', 'ink': 'marking', 'gel_bubbles': 'bubble'}  # and their published names
PUBLISHED = Path('data') / 'artefacts'
SIDE = math.sqrt(600 * 450)  # of the photographs, pixels
NOTHING = 8  # grey levels: a smaller difference is the photograph's own
ANGLES = (-30.0, 60.0)  # of rulers, degrees
BUBBLES = (4, 13)  # how many are laid on at once, from and below
SCALES = (0.8, 1.25)

Channels = Float[np.ndarray, 'h w 3']


@dataclasses.dataclass(frozen=True)
class Template:
    """A cut-out.

    Attributes:
        name: of its file.
        central: whether it belongs around the lesion, in the middle of pictures.
        share: how opaque it is in each channel, 0 to 1.
        light: its colour times `share`.
    """

    name: str
    central: bool
    share: Channels
    light: Channels


def read(path: Path, flag: int = cv2.IMREAD_COLOR) -> UInt8[np.ndarray, 'h w *c']:
    """An image as RGB (or as `flag` says, with the colours in the order of OpenCV).

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no image of 8 bits a channel.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    image = cv2.imread(str(path), flag)
    if image is None:
        raise ValueError(f'{path}: not a readable image')
    if image.dtype != np.uint8:
        raise ValueError(f'{path}: expected 8 bits a channel, found {8 * image.itemsize}')
    if flag == cv2.IMREAD_COLOR:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.asarray(image, np.uint8)


def entries(root: Path) -> list[dict[str, Any]]:
    """What the published meta.json lists.

    Raises:
        FileNotFoundError, ValueError: it is missing, or does not say class, subclass and folder.
    """
    table = root / PUBLISHED / 'meta.json'
    if not table.is_file():
        raise FileNotFoundError(
            f'{table}: no such file; expected the folder of the artefact templates of Katsch et al.'
        )
    try:
        found = json.loads(table.read_text(encoding='utf-8'))['artefacts']
        for entry in found:
            if missing := {'class', 'artefact_folder'} - set(entry):
                raise KeyError(*missing)
            entry.setdefault('subclass', '')
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{table}: expected JSON with 'artefacts', each with 'class' and 'artefact_folder' "
            f'({type(error).__name__}: {error})'
        ) from error
    return found


@functools.lru_cache(maxsize=4)
def load(folder: str, kind: str) -> tuple[Template, ...]:
    """The templates of one of KINDS, by file name.

    Raises:
        FileNotFoundError: there is no such folder, or nothing of that kind in it.
        ValueError: a file is not readable, has more than 8 bits a channel, or is not as the form of
            the folder wants it; or there is nothing to be seen on a cut-out.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f'insert.templates: {folder}: no such folder')
    if (root / PUBLISHED).is_dir():
        found = tuple(_published(root, kind))
    else:
        found = tuple(_transparent(path) for path in sorted((root / kind).glob('*.png')))
    if not found:
        raise FileNotFoundError(
            f'insert.templates: {folder} has no templates of {kind!r}: expected {kind}/*.png, or '
            f'{PUBLISHED}/meta.json with that of Katsch et al.'
        )
    return found


def _transparent(path: Path) -> Template:
    cut = read(path, cv2.IMREAD_UNCHANGED)
    if cut.ndim != 3 or cut.shape[2] != 4:
        raise ValueError(f'{path}: expected a PNG with transparency (RGBA), found {cut.shape}')
    if not cut[..., 3].any():
        raise ValueError(f'{path}: the cut-out is transparent everywhere')
    share = np.repeat(cut[..., 3:].astype(np.float32) / 255, 3, axis=2)
    return Template(path.name, False, share, share * (cut[..., 2::-1].astype(np.float32) / 255))


def _published(root: Path, kind: str) -> Iterator[Template]:
    for entry in entries(root):
        if entry['class'] != KINDS[kind]:
            continue
        folder = root / PUBLISHED / entry['artefact_folder']
        files = [path for path in sorted(folder.glob('*.png')) if 'without' not in path.stem]
        if not files:
            raise FileNotFoundError(f'{folder}: no *.png, which meta.json says it has')
        for path in files:
            with_it = read(path)
            if kind == 'ink':
                without = np.full_like(with_it, 255)
            else:
                if path.stem.count('_with') != 1:
                    raise ValueError(
                        f"{path}: expected one '_with' in the name, which is '_without' in that of "
                        'the same photograph without the artefact'
                    )
                other = path.with_name(path.name.replace('_with', '_without'))
                without = read(other)
                if without.shape != with_it.shape:
                    raise ValueError(
                        f'{other} is {list(without.shape[:2])}, {path.name} '
                        f'{list(with_it.shape[:2])}: expected a pair of one size'
                    )
            share, light = difference(with_it, without)
            if not share.any():
                raise ValueError(f'{path}: nothing is to be seen that it is a template of')
            yield Template(path.name, entry['subclass'] == 'circle', share, light)


def difference(
    with_it: UInt8[np.ndarray, 'h w 3'], without: UInt8[np.ndarray, 'h w 3']
) -> tuple[Channels, Channels]:
    """Share and light by which `without` becomes `with_it`: (1 - share) without + light."""
    w, o = (image.astype(np.float32) / 255 for image in (with_it, without))
    darker = 1 - w / np.maximum(o, 1e-6)
    lighter = (w - o) / np.maximum(1 - o, 1e-6)
    share = np.where(w < o, darker, lighter)
    known = np.abs(w - o).max(axis=2, keepdims=True) > NOTHING / 255
    share = np.where(known, share, 0).astype(np.float32)
    return share, np.where(w < o, 0, share).astype(np.float32)


def pasted(
    rng: np.random.Generator, shape: tuple[int, int], options: Any
) -> tuple[Channels, Channels]:
    """Share and colour of an artefact `options.kind` from the templates of a folder.

    One template is chosen, scaled by SCALES and turned: rulers by ANGLES around a place in the
    lower part of the picture, ink in any direction anywhere, or in the middle where it surrounds a
    lesion. Of bubbles several are laid over each other. Places are shares of width and height.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    found = load(options.templates, options.kind)
    several = int(rng.integers(*BUBBLES)) if options.kind == 'gel_bubbles' else 1
    share, light = (np.zeros((*shape, 3), np.float32) for _ in range(2))
    for _ in range(several):
        template = found[int(rng.integers(len(found)))]
        angle = rng.uniform(*(ANGLES if options.kind == 'ruler' else (0.0, 360.0)))
        place, spread = rng.uniform(0.1, 0.9, 2), rng.normal(0, 0.04, 2)
        if options.kind == 'ruler':
            place = np.array([0.2, 0.6]) + place * np.array([0.6, 0.35])
        elif template.central:
            place = 0.5 + np.clip(spread, -0.1, 0.1)
        opaque, colour = _placed(template, shape, place, float(angle), rng.uniform(*SCALES))
        share = 1 - (1 - share) * (1 - opaque)
        light = light * (1 - opaque) + colour
    return share, light / np.maximum(share, 1e-6)


def _placed(
    template: Template,
    shape: tuple[int, int],
    place: Float[np.ndarray, '2'],
    angle: float,
    scale: float,
) -> tuple[Channels, Channels]:
    """The template around a place of a picture: first scaled, which averages, and then turned."""
    height, width = shape
    unit = scale * math.sqrt(height * width) / SIDE
    rows, columns = (max(1, round(side * unit)) for side in template.share.shape[:2])
    method = cv2.INTER_AREA if unit < 1 else cv2.INTER_LINEAR
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), angle, 1.0)
    matrix[:, 2] += place * [width, height] - [columns / 2, rows / 2]
    layers = []
    for layer in (template.share, template.light):
        small = cv2.resize(layer, (columns, rows), interpolation=method)
        layers.append(cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR))
    share = np.clip(layers[0], 0, 1).astype(np.float32)
    return share, np.clip(layers[1], 0, share).astype(np.float32)
