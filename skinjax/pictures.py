"""Pictures for pages: examples of a data set or a folder, and files made small enough to embed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, UInt8

if TYPE_CHECKING:
    from skinjax.data.records import DataSet, Records

# Bytes above which a picture is made smaller before it is embedded, and its longer side then.
LARGE = 150_000
LONG_SIDE = 1100
# Of outlines: sky blue and orange of Okabe and Ito, which skin has neither of.
TRUE, PREDICTED = (86, 180, 233), (230, 159, 0)


def embed(path: str | os.PathLike[str], side: int = LONG_SIDE) -> bytes:
    """A picture file for a page; a large one is shrunk to `side` pixels and becomes a JPEG.

    Raises:
        ValueError: not a picture.
    """
    import cv2

    data = Path(path).read_bytes()
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path}: expected a PNG or JPEG picture; remove the file')
    if len(data) <= LARGE:
        return data
    scale = side / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def class_examples(data: 'DataSet', split: str, count: int) -> tuple[list[np.ndarray], list[str]]:
    """Images of each class, spread over the split, and their titles, in rows of `count`."""
    records, images, titles = data.splits[split], [], []
    for k, name in enumerate(data.classes):
        rows = np.flatnonzero(records.labels == k)
        # Evenly over the split, since rows often stand in the order of their origin.
        some = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))
        rows = rows[some]
        images += [_small(records.read(int(row))['image']) for row in rows]
        images += [np.full((1, 1, 3), 255, np.uint8)] * (count - len(rows))
        titles += [name] * len(rows) + [''] * (count - len(rows))
    return images, titles


def class_rows(records: 'Records', side: int, columns: int) -> list[list[np.ndarray]]:
    """One row of square pictures for each class that occurs, spread over the records."""
    from skinjax.data import images

    rows = []
    for label in np.unique(records.labels):
        members = np.flatnonzero(records.labels == label)
        some = np.unique(np.linspace(0, len(members) - 1, columns).astype(int))
        rows.append([images.fit(records.read(int(r))['image'], side) for r in members[some]])
    return rows


def beside_rows(folder: str, side: int, columns: int) -> list[list[np.ndarray]]:
    """Two rows of the pictures in `config.beside`; none where it is ''.

    Raises:
        ValueError: there are no pictures.
    """
    from skinjax.data import images

    found = folder_examples(folder, 2 * columns) if folder else []
    if folder and not found:
        raise ValueError(f'no pictures in config.beside = {folder!r}')
    fitted = [images.fit(image, side, 'crop') for image in found]
    return [fitted[k : k + columns] for k in range(0, len(fitted), columns)]


def folder_examples(folder: str | os.PathLike[str], count: int) -> list[np.ndarray]:
    """The first pictures below a folder, by path; files that are none are passed over."""
    import cv2

    endings = ('.jpg', '.jpeg', '.png')
    paths = sorted(p for p in Path(folder).rglob('*') if p.suffix.lower() in endings)
    images = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in paths[:count]]
    return [_small(cv2.cvtColor(i, cv2.COLOR_BGR2RGB)) for i in images if i is not None]


def _small(image: np.ndarray, side: int = 128) -> np.ndarray:
    import cv2

    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def outlined(
    image: UInt8[np.ndarray, 'h w 3'],
    truth: Bool[np.ndarray, 'h w'],
    predicted: Bool[np.ndarray, 'h w'],
) -> UInt8[np.ndarray, 'h w 3']:
    """A copy of `image` with the outlines of the true (blue) and the predicted mask (orange)."""
    import cv2

    drawn = image.copy()
    width = max(1, round(max(image.shape[:2]) / 100))
    for mask, colour in ((truth, TRUE), (predicted, PREDICTED)):
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, lines, -1, colour, width)
    return drawn


def lit(
    image: UInt8[np.ndarray, 'h w 3'], weights: Float[np.ndarray, 'y x']
) -> UInt8[np.ndarray, 'h w 3']:
    """`image` as bright as the weights are large: whole at the largest, a fifth at 0."""
    import cv2

    share = (weights / max(float(weights.max()), 1e-12)).astype(np.float32)
    share = cv2.resize(share, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return (image * (0.2 + 0.8 * share[..., None])).astype(np.uint8)
