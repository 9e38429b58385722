"""Skin tones of the synthetic pictures by type: trained on light skin, judged on every type."""

import numpy as np
from jaxtyping import Float

from skinjax import skin
from skinjax.data.canvas import STREAMS, generator

NORMAL, LIGHT, EVEN = 'normal', 'light', 'even'
CHOICES = (NORMAL, LIGHT, EVEN)
# Individual typology angles of types I to VI in degrees, from and to. Drawn skin ends at -30, where
# brown ends and dark begins (Chardon et al. 1991); recolouring goes further: `skin.TYPES`.
RANGES = tuple(skin.types(72.0, -30.0).values())
OF = {LIGHT: (1, 2), EVEN: (1, 2, 3, 4, 5, 6)}  # types in training


def split(kind: int) -> str:
    """Name of the test split whose pictures all have skin of type 1 to 6."""
    return f'type_{kind}'


def draw(seed: int, indices: np.ndarray, kinds: tuple[int, ...]) -> Float[np.ndarray, ' n']:
    """The angle of each picture in degrees: any of the types alike, and any angle of the type.

    A picture that is drawn for several types stands at the same place of each one's range.
    """
    chance = [generator(seed, int(i), STREAMS['tone']).random(2) for i in indices]
    which, place = np.array(chance).reshape(-1, 2).T
    ranges = np.array([RANGES[kind - 1] for kind in kinds])
    low, high = ranges[np.floor(which * len(kinds)).astype(int)].T
    # Types end at their upper limit: an angle of exactly 41 degrees is type III.
    return high - place * (high - low)
