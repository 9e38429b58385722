"""How well a predicted mask fits the true one: measures of one image, on boolean arrays [h, w].

jaccard             |A and B| / |A or B|; two empty masks agree: 1
threshold_jaccard   the same, and 0 below 0.65: what the challenge of 2018 ranked by
dice                2 |A and B| / (|A| + |B|); two empty masks: 1
pixel_sensitivity   share of the lesion's pixels that are found; nan without a lesion
pixel_specificity   share of the other pixels that are left; nan where there are none
boundary_f          F1 of the boundaries, see `boundary_f`
rowwise_jaccard     the mean of the rows' Jaccards, see `jaccard`; for comparison alone
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

Mask = Bool[np.ndarray, '_ _']

MEASURES = (
    'jaccard',
    'threshold_jaccard',
    'dice',
    'pixel_sensitivity',
    'pixel_specificity',
    'boundary_f',
    'rowwise_jaccard',
)
LEAST = 0.65  # Jaccard below which the challenge counts a lesion as missed
TOLERANCE = 0.01  # of the image's diagonal


def measure(truth: Mask, predicted: Mask) -> dict[str, float]:
    """All of MEASURES.

    Raises:
        ValueError: masks of different sizes.
    """
    both, either = _overlap(truth, predicted)
    overlap = _ratio(both, either, 1.0)
    background = truth.size - int(truth.sum())
    return {
        'jaccard': overlap,
        'threshold_jaccard': overlap if overlap >= LEAST else 0.0,
        'dice': 2 * overlap / (1 + overlap),
        'pixel_sensitivity': _ratio(both, truth.size - background, np.nan),
        'pixel_specificity': _ratio(truth.size - either, background, np.nan),
        'boundary_f': boundary_f(truth, predicted),
        'rowwise_jaccard': jaccard(truth, predicted, 'rowwise'),
    }


def jaccard(truth: Mask, predicted: Mask, mode: str = 'pixels') -> float:
    """|A and B| / |A or B|; 1 where both are empty.

    `mode` 'rowwise' is what scikit-learn's former `jaccard_similarity_score` makes of an image: it
    takes the rows of pixels for samples and means their Jaccards, of which those of empty rows are
    1. So it is the larger the smaller the lesion: it reproduces published figures and no more.

    Raises:
        ValueError: masks of different sizes, or an unknown mode.
    """
    if mode not in ('pixels', 'rowwise'):
        raise ValueError(f"mode is {mode!r}: choose 'pixels' or 'rowwise'")
    if mode == 'pixels':
        return _ratio(*_overlap(truth, predicted), 1.0)
    _check(truth, predicted)
    either = (truth | predicted).sum(1)
    return float(np.where(either, (truth & predicted).sum(1) / np.maximum(either, 1), 1.0).mean())


def boundary_f(truth: Mask, predicted: Mask, tolerance: float = TOLERANCE) -> float:
    """F1 of the two boundaries: 2 P R / (P + R).

    P is the share of the predicted boundary that lies within `tolerance` times the image's
    diagonal of the true one, R the reverse. A boundary is made of the mask's pixels that have one
    of their four neighbours outside, for which the frame ends, too; so only an empty mask has none.
    Two empty masks give 1, one of them 0. (After Csurka et al. 2013, BMVC.)

    Raises:
        ValueError: masks of different sizes.
    """
    _check(truth, predicted)
    if not truth.any() or not predicted.any():
        return float(truth.any() == predicted.any())
    reach = tolerance * float(np.hypot(*truth.shape))
    true_edge, own_edge = _boundary(truth), _boundary(predicted)
    precision = (_distance(true_edge)[own_edge] <= reach).mean()
    recall = (_distance(own_edge)[true_edge] <= reach).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def fill_holes(mask: Mask) -> Mask:
    """`mask` with every part of the background that does not reach the frame (by 4-neighbours)."""
    return np.asarray(ndimage.binary_fill_holes(mask))


def _boundary(mask: Mask) -> Mask:
    return mask & np.logical_not(ndimage.binary_erosion(mask))


def _distance(edge: Mask) -> Float[np.ndarray, '_ _']:
    """Of each pixel to the nearest one of the edge."""
    return np.asarray(ndimage.distance_transform_edt(np.logical_not(edge)))


def _check(truth: Mask, predicted: Mask) -> None:
    if truth.shape != predicted.shape:
        raise ValueError(
            f'masks of one size are compared: the true one has {truth.shape}, the other '
            f'{predicted.shape}'
        )


def _overlap(truth: Mask, predicted: Mask) -> tuple[int, int]:
    """Pixels in both masks, and in either."""
    _check(truth, predicted)
    return int((truth & predicted).sum()), int((truth | predicted).sum())


def _ratio(part: int, whole: int, empty: float) -> float:
    return part / whole if whole else empty
