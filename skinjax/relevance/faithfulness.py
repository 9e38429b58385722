"""Do the pixels that a map calls relevant matter to the prediction? (Samek et al. 2017; Petsiuk et
al. 2018, section 4.2)

Cells of the image are taken in the order of their relevance, and what the network says is watched:

    deletion    the most relevant cells lose their content first; a small area under the curve of
                the target's probability is good
    insertion   they are the first ones to be shown; a large area is good

beside a random order, and one from the centre outwards: lesions are in the middle, so that a map
that knows no more than that is already good.
"""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, Num, UInt8

from skinjax.bootstrap import bootstrap_mean

CELLS = 28  # a side, at most
STEPS = 14  # equal shares of the cells
FILLS = ('mean', 'blur')
ORDERS = ('centre', 'random')  # what the maps are compared with
MODES = ('deletion', 'insertion')
CALLS = 2 + len(MODES) * (1 + len(ORDERS)) * (STEPS - 1)  # of the network; all share their ends

Images = UInt8[np.ndarray, 'n h w 3']
Chance = Callable[[Images], Float[np.ndarray, ' n']]


def filled(image: UInt8[np.ndarray, 'h w 3'], fill: str) -> UInt8[np.ndarray, 'h w 3']:
    """What stands in place of deleted cells: the mean colour of the image, or the image blurred
    with a deviation of an eighth of its side.
    """
    if fill == 'mean':
        return np.broadcast_to(image.mean((0, 1)).round().astype(np.uint8), image.shape).copy()
    return cv2.GaussianBlur(image, (0, 0), max(image.shape[:2]) / 8)


def orders(heat: Num[np.ndarray, 'h w'], seed: int) -> dict[str, Int[np.ndarray, 'y x']]:
    """Rank of each cell, 0 the first, by the mean relevance in it, and by ORDERS.

    Equal ones are in the random order, so that a map of zeros is no better than that.
    """
    rows, cols = (min(CELLS, side) for side in heat.shape)
    cells = cv2.resize(heat.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[:rows, :cols]
    away = (y / max(rows - 1, 1) - 0.5) ** 2 + (x / max(cols - 1, 1) - 0.5) ** 2
    noise = np.random.default_rng(seed).normal(size=cells.shape)
    values = {'map': cells, 'centre': -away, 'random': noise}
    return {name: _ranks(value, noise) for name, value in values.items()}


def _ranks(
    values: Num[np.ndarray, 'y x'], noise: Float[np.ndarray, 'y x']
) -> Int[np.ndarray, 'y x']:
    """0 for the largest; of equal ones that with most noise."""
    ranks = np.empty(values.size, int)
    ranks[np.lexsort((-noise.ravel(), -values.ravel()))] = np.arange(values.size)
    return ranks.reshape(values.shape)


def shown(
    image: UInt8[np.ndarray, 'h w 3'],
    without: UInt8[np.ndarray, 'h w 3'],
    ranks: Int[np.ndarray, 'y x'],
    share: float,
    mode: str,
) -> UInt8[np.ndarray, 'h w 3']:
    """The image after a share of the cells has been deleted from it, or inserted into `without`."""
    taken = (ranks < round(share * ranks.size)).astype(np.uint8)
    mask = cv2.resize(taken, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None] > 0
    return np.where(mask, without, image) if mode == 'deletion' else np.where(mask, image, without)


def curves(
    chance: Chance, images: Images, maps: Num[np.ndarray, 'n h w'], fill: str, seed: int
) -> dict[str, dict[str, Float[np.ndarray, 'n s']]]:
    """Mode -> order -> probability of the target after 0, 1/STEPS ... 1 of the cells.

    Args:
        chance: images -> probabilities of their targets.
        images: that are explained.
        maps: their relevance.
        fill: one of FILLS.
        seed: of the random orders.
    """
    without = [filled(image, fill) for image in images]
    ranks = [orders(heat, seed + k) for k, heat in enumerate(maps)]

    def after(mode: str, order: str, share: float) -> Float[np.ndarray, ' n']:
        rows = zip(images, without, ranks, strict=True)
        return chance(np.stack([shown(i, w, r[order], share, mode) for i, w, r in rows]))

    whole, gone = chance(images), chance(np.stack(without))  # the ends, whatever the order
    ends = {'deletion': (whole, gone), 'insertion': (gone, whole)}
    inner = np.linspace(0, 1, STEPS + 1)[1:-1]
    return {
        mode: {
            order: np.stack([first, *(after(mode, order, share) for share in inner), last], 1)
            for order in ('map', *ORDERS)
        }
        for mode, (first, last) in ends.items()
    }


def area(curve: Float[np.ndarray, 'n s']) -> Float[np.ndarray, ' n']:
    """Under a curve over equal steps from 0 to 1, by trapezia."""
    return ((curve[:, 1:] + curve[:, :-1]) / 2).mean(1)


def summary(
    found: Mapping[str, Mapping[str, Float[np.ndarray, 'n s']]], seed: int
) -> dict[str, dict[str, Any]]:
    """Mode -> order -> mean area with interval; and for each of ORDERS `over_NAME`, by how much the
    maps are better than it (greater is better in both modes), paired.
    """
    blocks: dict[str, dict[str, Any]] = {}
    for mode, by_order in found.items():
        areas = {order: area(curve) for order, curve in by_order.items()}
        sign = -1 if mode == 'deletion' else 1
        gains = {f'over_{order}': sign * (areas['map'] - areas[order]) for order in ORDERS}
        blocks[mode] = {k: bootstrap_mean(v, seed=seed) for k, v in {**areas, **gains}.items()}
    return blocks
