"""The imaging instrument, guessed from the size of the original image.

Bevan and Atapour-Abarghouei, "Skin Deep Unlearning" (ICML 2022): ISIC publishes no camera, but
images of one clinic have one size. The proxy is a text, the width of the original image for both
sides, and only the eight largest groups of ISIC 2017 and 2020 are kept, numbered in the order of
text. Two limits: cameras with one width are one group, and a set that was rescaled before it was
published is one group too (1024 is ISIC 2017 as Kaggle's participants shared it, whole).
"""

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


def codes(widths: Int[np.ndarray, ' n']) -> Int[np.ndarray, ' n']:
    """Number of each image's group in GROUPS; -1 where its proxy is none of them."""
    index = {name: code for code, name in enumerate(GROUPS)}
    return np.array([index.get(name, UNKNOWN) for name in proxy(widths).tolist()], np.int32)
