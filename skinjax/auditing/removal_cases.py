"""Pictures with an artefact, the same without it, and how much of each pixel it covers."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from skinjax.data import cameras, rendering
from skinjax.data.records import choices
from skinjax.editors import templates as cut_outs

KINDS = ('hair', 'ruler', 'marking')
COVERED, TOUCHED = 0.2, 0.02  # coverage from which a pixel must be found, and may be found

Image = UInt8[np.ndarray, 'h w 3']


@dataclasses.dataclass(frozen=True)
class Case:
    """A picture with an artefact, its twin without, and what is known about the difference.

    Attributes:
        name: of the picture.
        kind: of the artefact.
        image: with it.
        clean: without.
        coverage: share of each pixel that the artefact covers, 0 to 1.
        lesion: where the lesion is.
        measured: where the twin is without artefact (outside a repaired cut-out it may have some).
    """

    name: str
    kind: str
    image: Image
    clean: Image
    coverage: Float[np.ndarray, 'h w']
    lesion: Bool[np.ndarray, 'h w']
    measured: Bool[np.ndarray, 'h w']


def synthetic(kinds: Sequence[str], n: int, size: int, seed: int) -> Iterator[Case]:
    """`n` lesions with each artefact, by the eight training cameras in turn.

    Raises:
        ValueError: an artefact that no editor removes.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f'artefact {kind!r}: {choices(kind, KINDS)}')
        for k in range(n):
            pair = rendering.twins(seed, k, k % 2, size, (kind,), k % cameras.SEEN)
            yield Case(
                f'{kind} {k}',
                kind,
                pair.marked.image,
                pair.clean.image,
                pair.coverage[kind],
                pair.clean.mask > 0,
                np.ones((size, size), bool),
            )


def templates(root: Path) -> Iterator[Case]:
    """Rulers and ink of Katsch et al. (2022): photographs, and the same repaired by hand.

    Six horizontal rulers: the photograph, and with the repaired cut-out put back in its place. Ink
    has no repaired twin: each cut-out (on white) is multiplied onto one of the five photographs
    without artefacts. Coverage of rulers is 1 where both pictures differ by more than 8 grey levels
    in a channel; that of ink is how much darker than white its darkest channel is.

    Left out are the 'vertical' rulers, strips that were turned upright, repeated and padded with
    white and are no photographs any more, and bubbles, which no editor here removes.

    Raises:
        FileNotFoundError: not the folder of the repository `dermatoscopic-artefact-insertion`.
    """
    clean = sorted((root / 'data' / 'test_images').glob('*.jpg'))
    count = 0
    for entry in cut_outs.entries(root):
        folder = root / cut_outs.PUBLISHED / entry['artefact_folder']
        files = sorted(folder.glob('*.png'))
        if entry['class'] == 'ruler' and entry['subclass'] == 'horizontal':
            with_it = next(f for f in files if 'without' not in f.stem)
            without = next(f for f in files if 'without' in f.stem)
            photograph = root / cut_outs.PUBLISHED / entry['original_file']
            yield _ruler(
                entry['name'],
                cut_outs.read(with_it),
                cut_outs.read(without),
                cut_outs.read(photograph),
            )
        elif entry['class'] == 'marking':
            for file in files:
                path = clean[count % len(clean)]
                lesion = (
                    cut_outs.read(root / 'data' / 'test_masks' / f'{path.stem}.png')[..., 0] > 127
                )
                yield _marking(file, cut_outs.read(path), lesion, entry['subclass'])
                count += 1


def _ruler(
    name: str, with_it: Image, without: Image, photograph: UInt8[np.ndarray, '_ _ 3']
) -> Case:
    import cv2

    height, width = with_it.shape[:2]
    left, top = cv2.minMaxLoc(cv2.matchTemplate(photograph, with_it, cv2.TM_SQDIFF))[2]
    part = slice(top, top + height), slice(left, left + width)
    clean, measured = photograph.copy(), np.zeros(photograph.shape[:2], bool)
    clean[part], measured[part] = without, True
    differs = np.abs(photograph.astype(int) - clean).max(axis=2) > 8
    nothing = np.zeros(measured.shape, bool)
    return Case(name, 'ruler', photograph, clean, differs.astype(np.float32), nothing, measured)


def _marking(file: Path, clean: Image, lesion: Bool[np.ndarray, 'h w'], subclass: str) -> Case:
    cut = cut_outs.read(file)
    height, width = (min(a, b) for a, b in zip(cut.shape[:2], clean.shape[:2], strict=True))
    top, left = (0, 0) if subclass == 'spot' else (
        (clean.shape[0] - height) // 2, (clean.shape[1] - width) // 2,
    )  # fmt: skip
    layer = np.full(clean.shape, 255, np.uint8)
    layer[top : top + height, left : left + width] = cut[:height, :width]
    image = np.round(clean.astype(np.float64) * layer / 255).astype(np.uint8)
    coverage = (1 - layer.min(axis=2) / 255).astype(np.float32)
    everywhere = np.ones(coverage.shape, bool)
    return Case(file.stem, 'marking', image, clean, coverage, lesion, everywhere)
