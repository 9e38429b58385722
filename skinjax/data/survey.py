"""Every image of a data set read once: what is wrong with it, what it is, and what it resembles.

Images are looked at by several threads and dropped again; sums of pixels are sums of integers, so
that the result is the same whatever the order.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from skinjax.data import duplicates, images
from skinjax.data.records import Records

TRAINED = ('train', 'val')  # splits that may share nothing with another one
KINDS = ('file', 'pixels', 'near')  # of duplicates
_CHUNK = 64  # images a thread may be ahead


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known of one row: of its file, where there is one, and of its pixels."""

    error: str = ''
    missing: bool = False
    format: str = ''
    width: int = 0
    height: int = 0
    file: str = ''
    pixels: str = ''
    hash: int = 0
    thumbnail: np.ndarray | None = None
    image: np.ndarray | None = None
    mask: float = float('nan')


@dataclasses.dataclass(frozen=True)
class Survey:
    """Columns over all rows, and sums over the readable ones.

    Attributes:
        errors: [n] why the row cannot be read, '' where it can.
        missing: [n] whether that is for want of a file.
        formats: [n] of the file, '' where it is unknown.
        shapes: [n, 2] width and height of the file; 0 where unknown.
        files, pixels: [n] digests of the file's bytes and of the image's pixels; '' where unknown.
        prints: fingerprints, for near duplicates.
        masks: [n] share of the image that its mask covers; NaN without one.
        class_counts: [k] readable rows of each class.
        class_means: [k, h, w, 3] their mean images.
        mean, std: [3] of the channels of all pixels of the chosen rows, 0 to 1.
    """

    errors: Shaped[np.ndarray, ' n']
    missing: Bool[np.ndarray, ' n']
    formats: Shaped[np.ndarray, ' n']
    shapes: Int[np.ndarray, 'n 2']
    files: Shaped[np.ndarray, ' n']
    pixels: Shaped[np.ndarray, ' n']
    prints: duplicates.Prints
    masks: Float[np.ndarray, ' n']
    class_counts: Int[np.ndarray, ' k']
    class_means: Float[np.ndarray, 'k h w 3']
    mean: Float[np.ndarray, ' 3']
    std: Float[np.ndarray, ' 3']

    @property
    def good(self) -> Bool[np.ndarray, ' n']:
        """Which rows can be read."""
        return self.errors == ''


def survey(
    records: Records,
    classes: int,
    size: int,
    chosen: Bool[np.ndarray, ' n'],
    threads: int = 1,
    told: Callable[[int], None] = lambda done: None,
) -> Survey:
    """Reads every row once; what cannot be read is noted, not raised.

    Args:
        records: of all splits, one after the other.
        classes: number of them.
        size: side of the images, in pixels.
        chosen: rows whose pixels make `mean` and `std`.
        threads: that read; 0 counts as 1.
        told: called with the number of rows read so far.
    """
    sums = np.zeros((classes, size, size, 3), np.int64)
    counts = np.zeros(classes, np.int64)
    total, squares, n = np.zeros(3, np.int64), np.zeros(3, np.int64), 0
    thumbnails = np.zeros((len(records), duplicates.SIDE, duplicates.SIDE), np.float32)
    kept = []
    for row, look in enumerate(_looks(records, size, max(1, threads))):
        if look.image is not None:
            label = records.labels[row]
            sums[label] += look.image
            counts[label] += 1
            thumbnails[row] = look.thumbnail
            if chosen[row]:
                flat = look.image.reshape(-1, 3).astype(np.int64)
                total, squares, n = total + flat.sum(0), squares + (flat**2).sum(0), n + len(flat)
        kept.append(dataclasses.replace(look, image=None, thumbnail=None))
        told(row + 1)
    mean = total / max(n, 1) / 255
    return Survey(
        errors=np.array([look.error for look in kept], object),
        missing=np.array([look.missing for look in kept], bool),
        formats=np.array([look.format for look in kept]),
        shapes=np.array([(look.width, look.height) for look in kept], np.int64).reshape(-1, 2),
        files=np.array([look.file for look in kept]),
        pixels=np.array([look.pixels for look in kept]),
        prints=duplicates.Prints(np.array([look.hash for look in kept], np.uint64), thumbnails),
        masks=np.array([look.mask for look in kept], np.float64),
        class_counts=counts,
        class_means=sums / np.maximum(counts, 1)[:, None, None, None],
        mean=mean,
        std=np.sqrt(np.maximum(squares / max(n, 1) / 255**2 - mean**2, 0)),
    )


def _looks(records: Records, size: int, threads: int) -> Iterator[Look]:
    """The looks at all rows in order; only a few images wait in memory."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(0)  # OpenCV's own threads get in the way of ours
    try:
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(records), _CHUNK * threads):
                rows = range(start, min(start + _CHUNK * threads, len(records)))
                yield from pool.map(lambda row: look_at(records, row, size), rows)
    finally:
        cv2.setNumThreads(before)


def look_at(records: Records, row: int, size: int) -> Look:
    """Reads one row."""
    import cv2

    look = Look() if records.files is None else _look_at_file(str(records.files[row]))
    try:
        example = records.read(row)
        if example['image'].shape != (size, size, 3):
            raise ValueError(f'the image has shape {example["image"].shape}, not {size} x {size}')
    except (OSError, ValueError, cv2.error) as error:
        missing = isinstance(error, FileNotFoundError)
        text = ' '.join(str(error).split()) or type(error).__name__
        return dataclasses.replace(look, error=text, missing=missing)
    image: UInt8[np.ndarray, 'h w 3'] = example['image']
    mask = float((example['mask'] > 127).mean()) if 'mask' in example else float('nan')
    return dataclasses.replace(
        look,
        pixels=_digest(np.ascontiguousarray(image).data),
        hash=int(duplicates.phash(image)),
        thumbnail=duplicates.thumbnail(image),
        image=image,
        mask=mask,
    )


def _look_at_file(name: str) -> Look:
    """What bytes and header tell; that the file is missing or no image is told by reading it."""
    try:
        data = Path(name).read_bytes()
    except OSError:
        return Look()
    try:
        kind, width, height = images.header(name, data=data)
    except ValueError:
        return Look(file=_digest(data))
    return Look(format=kind, width=width, height=height, file=_digest(data))


def _digest(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two rows of one photograph.

    Attributes:
        one, other: the rows.
        distance: of their hashes, in bits.
        kind: the same 'file', the same 'pixels', or 'near' duplicates.
        same_group: whether the data set knows that they belong together.
        leak: whether they are in two splits, of which one is trained on or chosen by.
    """

    one: int
    other: int
    distance: int
    kind: str
    same_group: bool
    leak: bool


def alike(
    found: Survey,
    splits: Shaped[np.ndarray, ' n'],
    groups: Shaped[np.ndarray, ' n'],
    distance: int,
    correlation: float,
) -> list[Pair]:
    """Duplicates: leaks first, of these the ones that the groups do not know, then the closest.

    Pictures without contrast have no fingerprint: only equal ones are found, each beside the first.

    Args:
        found: n rows.
        splits, groups: of these rows.
        distance, correlation: limits of near duplicates; see `duplicates.confirmed`.

    Raises:
        ValueError: as `duplicates.pairs`.
    """
    rows = np.flatnonzero(found.good)
    prints = duplicates.Prints(found.prints.hashes[rows], found.prints.thumbnails[rows])
    near = duplicates.confirmed(prints, distance=distance, correlation=correlation)
    pairs = {(int(rows[a]), int(rows[b])): int(bits) for a, b, bits in near}
    for digests in (found.files, found.pixels):
        first: dict[str, int] = {}
        for row in rows.tolist():
            if digests[row] and first.setdefault(digests[row], row) != row:
                pairs.setdefault((first[digests[row]], row), 0)
    result = []
    for (one, other), bits in pairs.items():
        kind = 'near'
        if found.pixels[one] == found.pixels[other]:
            same = found.files[one] and found.files[one] == found.files[other]
            kind = 'file' if same else 'pixels'
        between = {str(splits[one]), str(splits[other])}
        leak = len(between) == 2 and bool(between & {*TRAINED})
        result.append(Pair(one, other, bits, kind, bool(groups[one] == groups[other]), leak))
    return sorted(result, key=_order)


def _order(pair: Pair) -> tuple[Any, ...]:
    kind = KINDS.index(pair.kind)
    return not pair.leak, pair.same_group, kind, pair.distance, pair.one, pair.other
