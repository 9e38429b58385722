"""Fills what another editor marked as artefact: by a trained network, or by OpenCV."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Bool, UInt8

from skinjax import tasks
from skinjax.editors import Editor, Example
from skinjax.models.options import one_of
from skinjax.tasks import inpainting

DEFAULTS: dict[str, Any] = {
    'init_from': '',  # directory of a run of configs/inpaint.py; not for telea and ns
    'method': 'network',  # or telea, ns (Navier-Stokes): OpenCV's
    'dilate': 2,  # pixels around the artefact that are filled too: its blurred rim
    'protect_lesion': True,  # leave the pixels of the lesion's mask as they are
    'batch_size': 16,
}
METHODS = ('network', *inpainting.CLASSICAL)
STEP = 64  # pixels: sides are padded to a multiple, so that few programs serve images of all sizes

Image = UInt8[np.ndarray, '_ _ 3']  # of any size, in one list
Hole = Bool[np.ndarray, '_ _']


def build(config: Any) -> Editor:
    """Examples whose 'artefact' is filled; 'artefact' then says what was (with its rim).

    Everything else keeps its value bit for bit. Examples without 'artefact' stay as they are, and
    so do those that are nothing but artefact: there is nothing to fill them from. The network sees
    images in their own size.

    Raises:
        FileNotFoundError, ValueError: `init_from` is no run of inpainting that has a checkpoint, or
            an option is out of range. Later, from the editor: ValueError for an image that is not
            uint8 [h, w, 3], or for a mask of another size.
    """
    one_of('inpaint: method', config.method, METHODS)
    if config.batch_size < 1 or config.dilate < 0:
        raise ValueError(
            'inpaint: batch_size must be at least 1 and dilate 0, found '
            f'{config.batch_size} and {config.dilate}'
        )
    fill = _network(config) if config.method == 'network' else _classical(config.method)

    def edit(examples: Sequence[Example]) -> list[Example]:
        found = [dict(example) for example in examples]
        holes = [hole(k, one, config.dilate, config.protect_lesion) for k, one in enumerate(found)]
        chosen = [k for k, one in enumerate(holes) if one.any() and not one.all()]
        filled = fill([found[k]['image'] for k in chosen], [holes[k] for k in chosen])
        for k, image in zip(chosen, filled, strict=True):
            found[k]['image'] = np.where(holes[k][..., None], image, found[k]['image'])
            found[k]['artefact'] = np.where(holes[k], 255, 0).astype(np.uint8)
        return found

    return edit


def hole(k: int, example: Example, dilate: int, protect_lesion: bool) -> Hole:
    """What is to be filled of example `k`: its artefact and `dilate` pixels around it.

    Raises:
        ValueError: the image is not uint8 [h, w, 3], or a mask has another size.
    """
    image = example['image']
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f'inpaint: example {k}: expected an image uint8 [h, w, 3], found {image.dtype} '
            f'{list(image.shape)}'
        )
    for name in ('artefact', 'mask'):
        if name in example and example[name].shape != image.shape[:2]:
            raise ValueError(
                f'inpaint: example {k}: {name!r} is {list(example[name].shape)}, its image '
                f'{list(image.shape[:2])}'
            )
    if 'artefact' not in example:
        return np.zeros(image.shape[:2], bool)
    found = (example['artefact'] > 127).astype(np.uint8)
    if dilate:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * dilate + 1,) * 2)
        found = cv2.dilate(found, disk)
    if protect_lesion and 'mask' in example:
        found[example['mask'] > 127] = 0
    return found > 0


Fill = Callable[[Sequence[Image], Sequence[Hole]], list[Image]]


def _classical(method: str) -> Fill:
    def fill(images: Sequence[Image], holes: Sequence[Hole]) -> list[Image]:
        pairs = zip(images, holes, strict=True)
        return [inpainting.classical(image, found, method) for image, found in pairs]

    return fill


def _network(config: Any) -> Fill:
    """By the network of the run in `config.init_from`.

    Raises:
        FileNotFoundError, ValueError: as `build`.
    """
    run, batch = _restore(config), config.batch_size

    def fill(images: Sequence[Image], holes: Sequence[Hole]) -> list[Image]:
        found: dict[int, Image] = {}
        for shape in sorted({_padded(image) for image in images}):
            rows = [k for k, image in enumerate(images) if _padded(image) == shape]
            for start in range(0, len(rows), batch):
                part = rows[start : start + batch]
                # Always a whole batch: one compiled program, and the same numbers in any company.
                inputs = np.zeros((batch, *shape, 3), np.uint8)
                masks = np.ones((batch, *shape), bool)
                for i, k in enumerate(part):
                    height, width = holes[k].shape
                    inputs[i, :height, :width] = images[k]
                    masks[i, :height, :width] = holes[k]
                out = run(inputs, masks)
                for i, k in enumerate(part):
                    height, width = holes[k].shape
                    found[k] = out[i, :height, :width]
        return [found[k] for k in range(len(images))]

    return fill


def _padded(image: Image) -> tuple[int, int]:
    height, width = (-(-side // STEP) * STEP for side in image.shape[:2])
    return height, width


def _restore(config: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(images [b, h, w, 3], holes [b, h, w]) -> images, of the run in `config.init_from`."""
    _, objective, variables = tasks.restored(config, 'inpainting', {})
    predict: Any = objective.predict
    run = jax.jit(lambda v, images, holes: predict(v, images, holes)['image'])
    return lambda images, holes: np.asarray(run(variables, images, holes))
