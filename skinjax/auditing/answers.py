"""What functions may say of a batch of images: probabilities, features and maps, checked."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

ROUNDING = 1e-3  # by which probabilities may miss their sum, and differ between two calls


def answer(
    said: Any, classes: int, batch: int, count: int
) -> tuple[Float[np.ndarray, 'n c'], Float[np.ndarray, 'n d'] | None]:
    """What a model says of a batch, checked: probabilities [n, 1] of the positive class of two or
    [n, c], and features or None, of the first `count` images.

    Raises:
        ValueError: other shapes, values that are no probabilities, rows that do not sum to 1, or
            features that are not finite.
    """
    features = None
    if isinstance(said, Mapping):
        if 'probabilities' not in said:
            raise ValueError(f"the model gives {sorted(said)}, but no 'probabilities'")
        said, features = said['probabilities'], said.get('features')
    p = _array(said, np.float64, 'probabilities')
    p = p[:, None] if p.ndim == 1 else p
    allowed = (1, 2) if classes == 2 else (classes,)
    if p.ndim != 2 or len(p) != batch or p.shape[1] not in allowed:
        columns = ' or '.join(f'[{batch}, {k}]' for k in allowed)
        raise ValueError(
            f'the model gives probabilities of shape {list(p.shape)} for {batch} images and '
            f'{classes} classes, expected {columns}'
        )
    if not np.isfinite(p).all():
        raise ValueError('the model gives probabilities that are not finite (NaN or infinite)')
    if p.min() < -ROUNDING or p.max() > 1 + ROUNDING:
        raise ValueError(
            f'the model gives values from {p.min():.3g} to {p.max():.3g}, expected probabilities '
            'from 0 to 1: apply the sigmoid or softmax to its logits'
        )
    if p.shape[1] > 1 and np.abs(p.sum(axis=1) - 1).max() > ROUNDING:
        off = p.sum(axis=1)[np.abs(p.sum(axis=1) - 1).argmax()]
        raise ValueError(
            f'the probabilities of the classes of an image sum to {off:.4g}, expected 1: is the '
            'softmax missing, or are several classes possible at once?'
        )
    p = np.clip(p[:, 1:] if p.shape[1] == classes == 2 else p, 0, 1)
    return p[:count], None if features is None else _features(features, batch)[:count]


def _features(found: Any, batch: int) -> Float[np.ndarray, 'n d']:
    features = _array(found, np.float32, 'features')
    if features.ndim != 2 or len(features) != batch:
        raise ValueError(
            f'the model gives features of shape {list(features.shape)} for {batch} images, '
            f'expected [{batch}, d]'
        )
    if not np.isfinite(features).all():
        raise ValueError('the model gives features that are not finite (NaN or infinite)')
    return features


def heat_map(found: Any, batch: int) -> Float[np.ndarray, 'n h w']:
    """Maps of a batch, checked. Raises ValueError for other shapes and what is not finite."""
    maps = _array(found, np.float32, 'maps')
    if maps.ndim != 3 or len(maps) != batch or not np.isfinite(maps).all():
        raise ValueError(
            f'`explain` gives maps of shape {list(maps.shape)} for {batch} images, expected finite '
            f'values [{batch}, h, w]'
        )
    return maps


def _array(found: Any, dtype: type, what: str) -> np.ndarray:
    """What a function gives, as an array.

    Raises:
        ValueError: it is something that NumPy cannot read.
    """
    try:
        return np.asarray(found, dtype)
    except (RuntimeError, TypeError, ValueError) as error:
        kind = f'{type(found).__module__}.{type(found).__name__}'
        raise ValueError(
            f'the model gives {what} as {kind}, which NumPy cannot read ({error}); a tensor of '
            'PyTorch can be turned into an array by .detach().float().cpu().numpy()'
        ) from error
