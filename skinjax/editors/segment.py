"""Adds the lesion's mask to each example, by a trained network."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Float, UInt8

from skinjax import masks, tasks
from skinjax.data import images
from skinjax.editors import Editor, Example

DEFAULTS: dict[str, Any] = {
    'init_from': '',  # directory of a run of configs/segment.py
    'threshold': 0.0,  # least probability of lesion; 0: that of the run
    'fill_holes': True,
    'overwrite': False,  # also where there is a mask already
    # Images at once. A GPU is faster with more; but then a single one costs as much as all of them.
    'batch_size': 1,
}

Predict = Callable[[np.ndarray], np.ndarray]


def build(config: Any) -> Editor:
    """Examples with 'mask', uint8 [h, w] of 0 and 255, of the size of their image.

    An image is brought to the size that the run was trained on, its probabilities back to that of
    the image (bilinear); what reaches the threshold is lesion, and its holes are filled. Nothing is
    cut from the sides (`objective.crop` of the run), so that every pixel has its probability.

    Raises:
        FileNotFoundError, ValueError: `init_from` is no run of segmentation that has a checkpoint,
            or an option is out of range. Later, from the editor: ValueError for an image that is
            not uint8 [h, w, 3].
    """
    if config.batch_size < 1 or not 0 <= config.threshold <= 1:
        raise ValueError(
            'segment: batch_size must be at least 1 and threshold 0 to 1, found '
            f'{config.batch_size} and {config.threshold}'
        )
    trained, predict = restore(config)
    threshold = config.threshold or trained.evaluate.threshold
    size, batch = trained.data.image_size, config.batch_size

    def edit(examples: Sequence[Example]) -> list[Example]:
        for k, example in enumerate(examples):
            _check(k, example['image'])
        found = [dict(example) for example in examples]
        open_ = [one for one in found if config.overwrite or 'mask' not in one]
        for start in range(0, len(open_), batch):
            part = open_[start : start + batch]
            # Always a whole batch: one compiled program, and the same numbers in any company.
            inputs = np.zeros((batch, size, size, 3), np.uint8)
            for k, one in enumerate(part):
                inputs[k] = images.fit(one['image'], size)
            chances = predict(inputs)
            for one, chance in zip(part, chances, strict=False):
                one['mask'] = _mask(chance, one['image'].shape[:2], threshold, config.fill_holes)
        return found

    return edit


def restore(config: Any) -> tuple[Any, Predict]:
    """Config of the run in `config.init_from`, and images [b, s, s, 3] -> probabilities [b, s, s].

    Raises:
        FileNotFoundError, ValueError: as `build`.
    """
    fields = {'objective.crop': 0}
    trained, objective, variables = tasks.restored(config, 'segmentation', fields)
    run = jax.jit(lambda v, x: objective.predict(v, x)['probability'])
    return trained, lambda x: np.asarray(run(variables, x))


def _check(k: int, image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f'segment: example {k}: expected an image uint8 [h, w, 3], found {image.dtype} '
            f'{list(image.shape)}'
        )


def _mask(
    chance: Float[np.ndarray, 'a a'], shape: tuple[int, int], threshold: float, fill: bool
) -> UInt8[np.ndarray, 'h w']:
    height, width = shape
    mask = cv2.resize(chance, (width, height), interpolation=cv2.INTER_LINEAR) >= threshold
    mask = masks.fill_holes(mask) if fill else mask
    return np.where(mask, 255, 0).astype(np.uint8)
