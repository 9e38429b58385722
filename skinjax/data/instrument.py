"""The imaging instrument, guessed from the size of the original image.

Bevan and Atapour-Abarghouei, "Skin Deep Unlearning" (ICML 2022): ISIC publishes no camera, but
images of one clinic have one size. The proxy is a text, the width of the original image for both
sides, and only the eight largest groups of ISIC 2017 and 2020 are kept (`GROUPS`; of other data
sets the `common` ones), numbered in the order of text. Two limits: cameras with one width are one
group, and a set that was rescaled before it was published is one group too (1024 is ISIC 2017 as
Kaggle's participants shared it, whole).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped

from skinjax.data.records import UNKNOWN

# In the order of text, which numbers them: 640 comes last.
GROUPS = (
    '1024x1024',
    '1872x1872',
    '2592x2592',
    '3264x3264',
    '4288x4288',
    '5184x5184',
    '6000x6000',
    '640x640',
)


def proxy(widths: Int[np.ndarray, ' n']) -> Shaped[np.ndarray, ' n']:
    """'6000x6000' for an image 6000 pixels wide, whatever its height; '' for a width below 1."""
    names = [f'{width}x{width}' if width > 0 else '' for width in widths.tolist()]
    return np.array(names, dtype=str)


def codes(widths: Int[np.ndarray, ' n'], groups: Sequence[str] = GROUPS) -> Int[np.ndarray, ' n']:
    """Number of each image's group in `groups`; -1 where its proxy is none of them."""
    index = {name: code for code, name in enumerate(groups)}
    return np.array([index.get(name, UNKNOWN) for name in proxy(widths).tolist()], np.int32)


def common(widths: Int[np.ndarray, ' n'], least: int) -> tuple[str, ...]:
    """The groups that at least so many (training) images have, in the order of text.

    The others are many cameras rather than one more, and a head cannot unlearn a mixture.
    """
    counts = Counter(proxy(widths).tolist())
    return tuple(sorted(name for name, n in counts.items() if name and n >= least))


def widths_of(column: Shaped[np.ndarray, ' n']) -> Int[np.ndarray, ' n']:
    """Widths in a column of numbers or texts such as '1022.0'; 0 where the cell is empty.

    Raises:
        ValueError: a cell is no number.
    """
    cells = [cell.strip().lower() for cell in column.astype(str).tolist()]
    try:
        return np.array([0 if c in ('', 'nan') else int(float(c)) for c in cells], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'a width is no number: {error}') from None
