import time

import cv2
import numpy as np
import pytest

from skinjax.data import duplicates, images
from skinjax.data.duplicates import Prints
from skinjax.data.records import Records
from skinjax.data.table import read_table
from tests.helpers import ISIC2017, SHARED

HAM10000 = SHARED / 'data' / 'ham10000'
here = pytest.mark.skipif(
    not ISIC2017.is_dir(), reason='the ISIC 2017 images are not in ../shared/data'
)


def smooth(seed, height=96, width=96):
    """A random picture with detail at every scale."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 24):
        noise = rng.normal(size=(cells, cells, 3))
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 6 / cells
    return np.clip(128 + 50 * total, 0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def pictures():
    return [smooth(seed) for seed in range(40)]


def bits(one, other):
    return int(np.bitwise_count(one ^ other))


def slow_hash(image):
    """Signs of sums over cosines, written out."""
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    grey = small @ [0.299, 0.587, 0.114]
    x = np.arange(32)
    text = ''
    for u in range(1, 9):
        for v in range(1, 9):
            rows, columns = (np.cos(np.pi * k * (2 * x + 1) / 64) for k in (u, v))
            text += '1' if rows @ grey @ columns > 0 else '0'
    return int(text, 2)


def test_hash_of_its_definition(pictures):
    for image in pictures[:8]:
        assert int(duplicates.phash(image)) == slow_hash(image)
    assert duplicates.phash(pictures[0]).dtype == np.uint64
    assert duplicates.phash(np.full((5, 9, 3), 77, np.uint8)) == 0


def changed(image):
    """The same picture rescaled, recompressed, brightened, and cropped by 3 % at each side."""
    half = cv2.resize(image, (40, 52), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1)
    bright = cv2.convertScaleAbs(image, alpha=0.8, beta=30)
    return [half, jpeg, bright, image[3:-3, 3:-3]]


def test_changes_that_keep_the_picture_keep_most_bits(pictures):
    hashes = np.array([duplicates.phash(image) for image in pictures])
    for own, image in zip(hashes, pictures, strict=True):
        for other in changed(image):
            assert bits(own, duplicates.phash(other)) <= duplicates.DISTANCE
    assert not len(duplicates.pairs(hashes))


def test_symmetries_follow_from_the_hash(pictures):
    for image in pictures[:10]:
        found = duplicates.symmetries(np.array([duplicates.phash(image)]))[:, 0]
        expected = []
        for i in range(8):
            turned = image.swapaxes(0, 1) if i >= 4 else image
            turned = turned[:: -1 if i % 4 in (1, 3) else 1, :: -1 if i % 4 in (2, 3) else 1]
            expected.append(duplicates.phash(np.ascontiguousarray(turned)))
        assert max(map(bits, found, expected)) <= 1  # a coefficient of nearly 0 may change its sign


def test_pairs():
    hashes = np.array([0b0000, 0b0001, 0b1111, 0b0111, 0b0000], np.uint64)
    assert duplicates.pairs(hashes, distance=1).tolist() == [
        [0, 4, 0],
        [0, 1, 1],
        [1, 4, 1],
        [2, 3, 1],
    ]
    other = np.array([0b1110, 0b0000], np.uint64)
    assert duplicates.pairs(hashes[:2], other, distance=1).tolist() == [[0, 1, 0], [1, 1, 1]]
    assert duplicates.pairs(hashes[:0], other, 64).shape == (0, 3)
    assert duplicates.pairs(hashes, hashes[:0], 64).shape == (0, 3)
    with pytest.raises(ValueError, match='distance=65; expected 0 to 64'):
        duplicates.pairs(hashes, distance=65)


def test_pairs_in_blocks_are_those_of_one_block(monkeypatch):
    hashes = np.random.default_rng(0).integers(0, 256, 300).astype(np.uint64)
    whole = duplicates.pairs(hashes, distance=2)
    monkeypatch.setattr(duplicates, '_BLOCK', 1000)
    np.testing.assert_array_equal(duplicates.pairs(hashes, distance=2), whole)
    slow = sum(bits(a, b) <= 2 for k, a in enumerate(hashes) for b in hashes[k + 1 :])
    assert len(whole) == slow > 0
    monkeypatch.setattr(duplicates, 'MAX_PAIRS', 100)
    with pytest.raises(ValueError, match=r'more than 100 pairs .* lower the distance'):
        duplicates.pairs(hashes, distance=2)


def test_ten_thousand_by_ten_thousand_in_a_minute_of_one_core():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 2**64, (2, 10_000), np.uint64)
    other[5000] = one[7] ^ np.uint64(0b11)
    before = time.process_time()
    assert duplicates.pairs(one, other, 6).tolist() == [[7, 5000, 2]]
    assert time.process_time() - before < 60


def test_groups_of():
    joined = np.array([[3, 1, 0], [1, 5, 2], [4, 2, 0]])
    assert duplicates.groups_of(joined, 7).tolist() == [0, 1, 2, 1, 2, 1, 3]
    assert duplicates.groups_of(np.zeros((0, 3), int), 3).tolist() == [0, 1, 2]


def test_candidates_are_confirmed_by_correlation(pictures):
    """Two pictures with one hash, of which only the thumbnails tell that they differ."""
    found = duplicates.prints([pictures[0], changed(pictures[0])[1], pictures[1]])
    collided = Prints(found.hashes[[0, 0, 0]], found.thumbnails)
    assert duplicates.confirmed(collided).tolist() == [[0, 1, 0]]
    assert len(duplicates.pairs(collided.hashes)) == 3
    rows = duplicates.confirmed(found, duplicates.prints(pictures[:2]))
    assert rows[:, :2].tolist() in ([[0, 0], [2, 1], [1, 0]], [[0, 0], [1, 0], [2, 1]])


def test_all_changes_are_confirmed(pictures):
    originals = duplicates.prints(pictures)
    for k in range(4):
        others = duplicates.prints([changed(image)[k] for image in pictures])
        found = duplicates.confirmed(originals, others)
        assert found[:, 0].tolist() == found[:, 1].tolist() and len(found) >= 38


def test_alignment_undoes_a_crop_and_nothing_else(pictures):
    one, crop, other = duplicates.prints(
        [pictures[0], pictures[0][8:, :-6], pictures[1]]
    ).thumbnails
    assert (one * crop).sum() < 0.9 < duplicates.CORRELATION < duplicates.aligned(one, crop)
    assert duplicates.aligned(one, other) < 0.9
    assert duplicates.aligned(crop, one) == duplicates.aligned(one, crop)
    assert duplicates.aligned(one, np.zeros_like(one)) == 0


def test_turned_images_are_found_on_request(pictures):
    turned = [np.rot90(pictures[0]).copy(), pictures[1][::-1].copy(), pictures[2]]
    originals = duplicates.prints(pictures[:3])
    assert duplicates.confirmed(originals, duplicates.prints(turned))[:, :2].tolist() == [[2, 2]]
    found = duplicates.confirmed(originals, duplicates.prints(turned), turned=True)
    assert sorted(map(tuple, found[:, :2].tolist())) == [(0, 0), (1, 1), (2, 2)]
    both = duplicates.prints([pictures[0], turned[0], pictures[3]])
    assert duplicates.confirmed(both, turned=True)[:, :2].tolist() == [[0, 1]]
    assert not len(duplicates.confirmed(both))


def records(pixels, names):
    n = len(pixels)
    ids = np.array([f'image{k}' for k in range(n)])
    labels = np.zeros(n, np.int32)
    return Records(ids, labels, {}, np.array(names), lambda row: {'image': pixels[row]})


def test_join_puts_duplicates_of_all_splits_into_one_group(pictures):
    splits = {
        'train': records(pictures[:4], ['b', 'b', 'c', 'd']),
        'test': records([pictures[9], changed(pictures[1])[0]], ['z', 'a']),
    }
    found, joined = duplicates.join(splits, 12)
    assert joined == [('image1', 'image1')]
    assert found['train'].groups.tolist() == ['a', 'a', 'c', 'd']
    assert found['test'].groups.tolist() == ['z', 'a']
    assert found['test'].ids.tolist() == ['image0', 'image1']


@here
def test_known_near_duplicates_of_isic2017_are_found():
    """All 24 known pairs, and one among 300 further images that the table does not know."""
    table = read_table(ISIC2017 / 'labels.csv')
    twins = table.array('near_dup_group')
    rows = np.flatnonzero((twins != '') | (np.arange(len(twins)) % 10 == 0))
    small = [images.decode(ISIC2017 / name, 64) for name in table.array('image')[rows]]
    found = duplicates.confirmed(duplicates.prints(small))
    known, ids = twins[rows], table.array('image_id')[rows]
    right = (known[found[:, 0]] == known[found[:, 1]]) & (known[found[:, 0]] != '')
    assert (len(np.unique(twins)) - 1, int(right.sum())) == (24, 24)
    others = [(str(ids[a]), str(ids[b])) for a, b, _ in found[~right].tolist()]
    assert others == [('ISIC_0000165', 'ISIC_0014788')]  # the same lesion, coloured differently


CHANGES = {
    'half the size': lambda x: images.fit(x, 128),
    'JPEG quality 30': lambda x: cv2.imdecode(
        cv2.imencode('.jpg', x, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR
    ),
    'cropped by 2 % a side': lambda x: x[5:-5, 5:-5],
    'cropped by 5 % a side': lambda x: x[13:-13, 13:-13],
    'cropped by 10 % a side': lambda x: x[26:-26, 26:-26],
    'turned by 90 degrees': lambda x: np.rot90(x).copy(),
    'mirrored': lambda x: x[:, ::-1].copy(),
    'crop instead of squash, 4:3': lambda x: x[:, 32:-32],
}


@pytest.mark.slow
@here
@pytest.mark.skipif(not HAM10000.is_dir(), reason='HAM10000 is not in ../shared/data')
def test_calibration():
    """The tables of docs/data.md: pytest -m slow -s tests/data/test_duplicates.py"""
    sets = {}
    for root, column in ((ISIC2017, 'near_dup_group'), (HAM10000, 'lesion_id')):
        table = read_table(root / 'labels.csv')
        pixels = [images.decode(root / name, 256) for name in table.array('image')]
        start = time.process_time()
        sets[root.name] = duplicates.prints(pixels), table.array(column), table.array('image_id')
        print(f'\n{root.name}: {len(pixels)} prints in {time.process_time() - start:.1f} s of CPU')
        if root == ISIC2017:
            sample = pixels[::5]
    found = {}
    for name, (one, groups, _) in sets.items():
        for limits in ((8, 0.985), (12, 0.97), (12, 0.985), (12, 0.99), (16, 0.985)):
            rows = duplicates.confirmed(one, None, *limits)
            same = (groups[rows[:, 0]] == groups[rows[:, 1]]) & (groups[rows[:, 0]] != '')
            found[name, *limits] = int(same.sum()), int((~same).sum())
        print(
            f'{name}: (distance, correlation): pairs of one group, of two',
            *(f'({d}, {c}): {a}, {b};' for (n, d, c), (a, b) in found.items() if n == name),
        )
    across = duplicates.confirmed(sets['isic2017'][0], sets['ham10000'][0])
    print(f'isic2017 x ham10000: {len(across)} pairs')
    originals = duplicates.prints(sample)
    for change, function in CHANGES.items():
        changed = duplicates.prints([function(image) for image in sample])
        shares = []
        for turned in (False, True):
            rows = duplicates.confirmed(originals, changed, turned=turned)
            shares.append((rows[:, 0] == rows[:, 1]).sum() / len(sample))
        print(f'| {change} | {shares[0]:.3f} | {shares[1]:.3f} |')
    assert found['isic2017', 12, 0.985] == (24, 15) and found['ham10000', 12, 0.985][1] <= 6
