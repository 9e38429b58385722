"""Editors: images in, images out; one file each, chained by `skinjax/purify.py`.

An editor module `skinjax/editors/NAME.py` has DEFAULTS and `build(config) -> Editor`. An Example is
a dict of arrays: 'image', uint8 [h, w, 3], and perhaps 'mask', uint8 [h, w] of 0 and 255: the
lesion; and perhaps 'artefact', uint8 [h, w] of 0 and 255: what was removed, or is to be removed.
An editor gives as many examples as it gets, in their order; it never changes its input arrays, it
is deterministic, and no pixel of one example depends on another example.
"""

from collections.abc import Callable, Sequence

import numpy as np

Example = dict[str, np.ndarray]
Editor = Callable[[Sequence[Example]], list[Example]]
