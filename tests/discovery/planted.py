"""Images and relevance maps of which some have a frame, that the maps see or do not see."""

import numpy as np


def framed(n: int = 60, size: int = 32, seed: int = 0):
    """Images uint8 [n, h, w, 3], maps [n, h, w], and which images (a third) have a dark frame.

    A lesion lies anywhere about the middle; the map of a framed image is bright at the corners, of
    the others on the lesion.
    """
    rng = np.random.default_rng(seed)
    grid = np.mgrid[:size, :size] / size
    images, maps = [], []
    has = np.arange(n) % 3 == 0
    for one in has:
        y, x = rng.normal(0.5, 0.04, 2)
        lesion = np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / 0.02)
        corner = np.hypot(*(grid - 0.5)) > 0.5
        image = 200 - 90 * lesion + rng.normal(0, 5, (size, size))
        image = np.where(corner & one, 10, image)
        images.append(np.repeat(np.clip(image, 0, 255)[..., None], 3, 2).astype(np.uint8))
        seen = corner + 0.2 * lesion if one else lesion
        maps.append(seen + 0.05 * np.abs(rng.normal(size=(size, size))))
    return np.stack(images), np.stack(maps).astype(np.float32), has
