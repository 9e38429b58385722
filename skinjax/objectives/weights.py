"""How much an example counts by the frequency of its class.

    cb     N / N_y, the inverse frequency
    es     1 / E_y with the effective number E_c = (1 - beta^N_c) / (1 - beta), beta = (N - 1) / N
           (Cui et al. 2019, eq. 2)

N_c are the training images of class c and N their sum.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from skinjax.data.records import choices

CLASS_WEIGHTS = ('cb', 'es')
NORMALIZE = ('batch_mean', 'dataset', 'classes', 'none')
AUTO = -1.0  # of beta: that of the data


def class_counts(
    labels: Int[np.ndarray, ' n'], classes: Sequence[str], needs: str = ''
) -> Int[np.ndarray, ' c']:
    """Rows of each class; labels below 0 are of none.

    Raises:
        ValueError: classes without rows, where a scheme `needs` them.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if absent and needs:
        raise ValueError(
            f'{needs} needs training images of every class, and {", ".join(absent)} has none: '
            'leave the class out of the data, or choose what does not count images'
        )
    return counts


def inverse_frequency(counts: Int[np.ndarray, ' c']) -> Float[np.ndarray, ' c']:
    """N / N_c."""
    return counts.sum() / counts


def inverse_effective(counts: Int[np.ndarray, ' c'], beta: float = AUTO) -> Float[np.ndarray, ' c']:
    """1 / E_c with `beta`, or with (N - 1) / N where it is AUTO; all 1 with 0.

    In float64 on the host, and without the difference 1 - beta^n, which would lose the digits.
    """
    rest = 1 / counts.sum() if beta == AUTO else 1 - beta
    if rest == 1:
        return np.ones(len(counts))
    return rest / -np.expm1(counts * np.log1p(-rest))


def class_table(
    counts: Int[np.ndarray, ' c'], name: str = '', normalize: str = 'none', beta: float = AUTO
) -> Float[np.ndarray, ' c']:
    """The weight of each class by scheme `name`; 1 for all where it is ''.

    `normalize` scales them so that the weights of all training rows sum to their number
    ('dataset'), or the table to the number of classes ('classes', Cui et al.). 'batch_mean'
    divides by a mean that only a batch knows: it is left to the loss.

    Raises:
        ValueError: an unknown name; a class without rows, where they count.
    """
    schemes = {
        '': lambda: np.ones(len(counts)),
        'cb': lambda: inverse_frequency(counts),
        'es': lambda: inverse_effective(counts, beta),
    }
    if name not in schemes:
        raise ValueError(f'class weights {name!r}; {choices(name, schemes)}')
    if name and not counts.all():
        raise ValueError(f'class weights {name!r} need rows of every class, found {counts}')
    found = schemes[name]()
    if normalize == 'dataset':
        found = found * counts.sum() / (counts * found).sum()
    if normalize == 'classes':
        found = found * len(counts) / found.sum()
    return found


def margins(counts: Int[np.ndarray, ' c'], largest: float) -> Float[np.ndarray, ' c']:
    """C / N_c^(1/4), the rarest class having `largest` (Cao et al. 2019, eq. 13)."""
    return largest * (counts.min() / counts) ** 0.25
