"""Near duplicates: the same photograph again, rescaled, recompressed, slightly cropped or turned.

Two steps. A perceptual hash of 64 bits finds candidates among millions of pairs: a DCT hash as in
Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), with two
departures. Bits are signs of coefficients rather than comparisons with their median, and the first
row and column are left out: then the hash of a flipped or transposed image follows from the hash
alone (`symmetries`). Lesions in the middle of plain skin collide in such hashes, so candidates are
confirmed by the correlation of their thumbnails after an affine alignment, which undoes a crop.
Both limits are calibrated in docs/data.md.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8, UInt64

from skinjax.data.records import Records

Hashes = UInt64[np.ndarray, ' n']
Pairs = Int[np.ndarray, 'k 3']

SIDE = 32  # of a thumbnail
DISTANCE, CORRELATION = 12, 0.985
ROUGH = 0.6  # correlation from which alignment is tried
MAX_PAIRS = 10_000_000
_BLOCK = 1 << 22  # distances held at once: 32 MiB
# Row and column frequency of each bit, and the bits whose sign a flip of that axis changes:
# cos(π u (2x + 1) / 2N) is odd in x for odd u.
_ROW, _COLUMN = np.divmod(np.arange(64), 8) + np.ones((2, 64), int)


def thumbnail(image: UInt8[np.ndarray, 'h w 3']) -> Float[np.ndarray, '32 32']:
    """Luminance averaged over areas, less its mean, of unit length; zeros if there is no contrast.

    The sum of the products of two thumbnails is their correlation.
    """
    import cv2

    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = small.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    grey -= grey.mean()
    norm = float(np.linalg.norm(grey))
    return grey / norm if norm > 1e-2 else np.zeros_like(grey)


def phash(image: UInt8[np.ndarray, 'h w 3']) -> np.uint64:
    """The perceptual hash: signs of the DCT coefficients 1..8 x 1..8 of the thumbnail.

    An image without contrast has hash 0.
    """
    return _hash(thumbnail(image))


def _hash(small: Float[np.ndarray, '32 32']) -> np.uint64:
    import cv2

    return _pack(cv2.dct(small)[1:9, 1:9].reshape(1, 64) > 1e-7)[0]


def _pack(bits: Shaped[np.ndarray, 'n 64']) -> Hashes:
    return np.packbits(bits, axis=1).view('>u8')[:, 0].astype(np.uint64)


def symmetries(hashes: Hashes) -> UInt64[np.ndarray, '8 n']:
    """Hashes of the eight flipped and transposed images, from the hashes of the images.

    Number i: transposed if i >= 4, then by i mod 4 unchanged, rows reversed, columns reversed,
    both: the order of the test-time augmentation.
    """
    bits = np.unpackbits(hashes.astype('>u8').view(np.uint8).reshape(-1, 8), axis=1)
    both = [bits, bits.reshape(-1, 8, 8).swapaxes(1, 2).reshape(-1, 64)]
    rows, columns = _ROW % 2 == 1, _COLUMN % 2 == 1
    changes = (np.zeros(64, bool), rows, columns, rows ^ columns)
    return np.stack([_pack(form ^ change) for form in both for change in changes])


def pairs(
    hashes: Hashes, others: UInt64[np.ndarray, ' m'] | None = None, distance: int = DISTANCE
) -> Pairs:
    """All pairs of rows whose hashes differ in at most `distance` bits.

    Memory is bounded by blocks; 10,000 x 10,000 take half a second on one core.

    Args:
        hashes: of one set.
        others: of another; None compares `hashes` with themselves, each pair once, row < row.
        distance: 0 to 64.

    Returns:
        (row, row of `others`, distance), ordered by distance, then by row.

    Raises:
        ValueError: a distance outside 0 to 64, or more than ten million pairs.
    """
    if not 0 <= distance <= 64:
        raise ValueError(f'distance={distance}; expected 0 to 64 differing bits')
    alone = others is None
    second = hashes if others is None else others
    step = max(1, _BLOCK // max(len(second), 1))
    found, count = [np.zeros((0, 3), np.int64)], 0
    for start in range(0, len(hashes), step):
        first = start if alone else 0
        bits = np.bitwise_count(hashes[start : start + step, None] ^ second[None, first:])
        row, column = np.nonzero(bits <= distance)
        block = np.stack([row + start, column + first, bits[row, column].astype(np.int64)], axis=1)
        found.append(block[block[:, 0] < block[:, 1]] if alone else block)
        count += len(found[-1])
        if count > MAX_PAIRS:
            raise ValueError(
                f'more than {MAX_PAIRS} pairs of images differ in at most {distance} bits; '
                f'lower the distance (calibrated: {DISTANCE})'
            )
    result = np.concatenate(found)
    return result[np.lexsort((result[:, 1], result[:, 0], result[:, 2]))]


def groups_of(pairs: Int[np.ndarray, 'k _'], n: int) -> Int[np.ndarray, ' n']:
    """Number of the group of each of `n` rows, where the first two columns of `pairs` join rows.

    Groups are numbered by their first row: connected components, so that a chain of pairs is one
    group although its ends may differ by more.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    _, first, codes = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes].astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Prints:
    """Fingerprints of n images: hashes [n] and thumbnails [n, 32, 32]."""

    hashes: Hashes
    thumbnails: Float[np.ndarray, 'n 32 32']

    def __len__(self) -> int:
        return len(self.hashes)


def prints(images: Sequence[np.ndarray] | Records) -> Prints:
    """Fingerprints of images (RGB, uint8, of any size) or of records, each read once."""
    n = len(images)
    small = np.zeros((n, SIDE, SIDE), np.float32)
    for row in range(n):
        image = images.read(row)['image'] if isinstance(images, Records) else images[row]
        small[row] = thumbnail(image)
    return Prints(np.array([_hash(one) for one in small], np.uint64), small)


def confirmed(
    one: Prints,
    other: Prints | None = None,
    distance: int = DISTANCE,
    correlation: float = CORRELATION,
    turned: bool = False,
) -> Pairs:
    """The `pairs` of two sets, or within one, whose aligned thumbnails correlate at least so much.

    Args:
        one, other: fingerprints; None compares `one` with itself.
        distance: in bits, of the hashes.
        correlation: of the thumbnails, see `aligned`.
        turned: also finds images that were flipped, transposed or turned by quarter turns.
    """
    second = one if other is None else other
    found = []
    for k, hashes in enumerate(symmetries(second.hashes)[: 8 if turned else 1]):
        rows = pairs(one.hashes, None if other is None and not k else hashes, distance)
        rows = rows[rows[:, 0] < rows[:, 1]] if other is None else rows
        alike = _correlations(one.thumbnails, second.thumbnails, rows, k)
        found.append(rows[alike >= correlation])
    rows = np.concatenate(found)
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    _, first = np.unique(rows[:, :2], axis=0, return_index=True)  # a pair alike in several turns
    rows = rows[first]
    return rows[np.lexsort((rows[:, 1], rows[:, 0], rows[:, 2]))]


def _correlations(
    a: Float[np.ndarray, 'n 32 32'], b: Float[np.ndarray, 'm 32 32'], rows: Pairs, symmetry: int
) -> Float[np.ndarray, ' k']:
    result = np.zeros(len(rows), np.float32)
    for start in range(0, len(rows), 4096):
        block = rows[start : start + 4096]
        first, second = a[block[:, 0]], _turn(b[block[:, 1]], symmetry)
        found = np.einsum('kij,kij->k', first, second)
        for k in np.flatnonzero(found >= ROUGH).tolist():
            found[k] = max(found[k], aligned(first[k], second[k]))
        result[start : start + 4096] = found
    return result


def aligned(one: Float[np.ndarray, '32 32'], other: Float[np.ndarray, '32 32']) -> float:
    """Highest correlation of two thumbnails under an affine map, over the part that both show.

    Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient
    Maximization" (PAMI 2008), 30 steps from the identity. 0 where that finds no map, or one that
    scales or shears by more than a quarter: that would be another picture. The mean over mapping
    either onto the other: maps of pictures that only resemble each other are good one way, and
    which of two images comes first must not matter.
    """
    return (_mapped(one, other) + _mapped(other, one)) / 2


def _mapped(one: Float[np.ndarray, '32 32'], other: Float[np.ndarray, '32 32']) -> float:
    import cv2

    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    warp = np.eye(2, 3, dtype=np.float32)
    a, b = (np.ascontiguousarray(image * 100, np.float32) for image in (one, other))
    no_mask = np.full(a.shape, 255, np.uint8)
    try:
        value, warp = cv2.findTransformECC(a, b, warp, cv2.MOTION_AFFINE, stop, no_mask, 1)
    except cv2.error:  # it does not converge
        return 0.0
    return float(value) if np.abs(warp - np.eye(2, 3))[:, :2].max() <= 0.25 else 0.0


def _turn(images: Float[np.ndarray, 'n h w'], symmetry: int) -> Float[np.ndarray, 'n h w']:
    if symmetry >= 4:
        images = images.swapaxes(1, 2)
    flip = symmetry % 4
    return images[:, :: -1 if flip in (1, 3) else 1, :: -1 if flip in (2, 3) else 1]


def join(
    splits: Mapping[str, Records], distance: int
) -> tuple[dict[str, Records], list[tuple[str, str]]]:
    """The same splits, with near duplicates of each other in one group, also across splits.

    Existing groups (patients, lesions) are joined whole: where two of their images are `confirmed`
    duplicates, both groups become one, named as the first.

    Returns:
        The splits, and the ids of the pairs, the closest first.
    """
    parts = list(splits.values())
    ids, names = (np.concatenate([getattr(part, k) for part in parts]) for k in ('ids', 'groups'))
    known, codes = np.unique(names, return_inverse=True)
    each = [prints(part) for part in parts]
    everything = Prints(
        np.concatenate([one.hashes for one in each]),
        np.concatenate([one.thumbnails for one in each]),
    )
    found = confirmed(everything, distance=distance)
    group = groups_of(codes[found[:, :2]], len(known))
    _, first = np.unique(group, return_index=True)
    named = known[first][group][codes]
    ends = np.cumsum([len(part) for part in parts])[:-1]
    joined = {
        name: dataclasses.replace(part, groups=own)
        for (name, part), own in zip(splits.items(), np.split(named, ends), strict=True)
    }
    return joined, [(str(ids[a]), str(ids[b])) for a, b, _ in found.tolist()]
