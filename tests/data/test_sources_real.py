"""The counts of data/README.md, from the images in ../shared/data."""

import dataclasses
import json
import time
from collections import Counter

import numpy as np
import pytest

from skinjax.data import groups, ham10000, labels, leave_out
from skinjax.data.table import read_table
from tests.data.test_sources import joined, load, options
from tests.helpers import SHARED

ROOT = SHARED / 'data' / 'ham10000'
pytestmark = pytest.mark.skipif(
    not ROOT.is_dir(), reason='the HAM10000 images are not in ../shared/data'
)
COUNTS = {'nv': 6705, 'mel': 1113, 'bkl': 1099, 'bcc': 514, 'akiec': 327, 'vasc': 142, 'df': 115}


@pytest.fixture(scope='module')
def data():
    start = time.process_time()
    config = options('ham10000', ROOT, positive='', with_mask=True)
    found = groups.load(ham10000.build, config, 0)
    return dataclasses.replace(found, info={'seconds': time.process_time() - start})


def test_counts(data):
    classes = Counter(joined(data, lambda part: np.array(data.classes)[part.labels]).tolist())
    assert classes == {ham10000.DIAGNOSES[dx]: n for dx, n in COUNTS.items()}
    parts = [set(part.groups.tolist()) for part in data.splits.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 7470 - 5
    lesions = joined(data, lambda part: part.columns['lesion_id'])
    names = joined(data, lambda part: part.groups)
    assert len(set(lesions.tolist())) == 7470
    assert {one: of for one, of in zip(lesions, names, strict=True) if one != of} == ham10000.TWINS
    assert {name: len(part) for name, part in data.splits.items()} == pytest.approx(
        {'train': 7010, 'val': 1002, 'test': 2003}, abs=15
    )
    whole = joined(data, lambda part: part.labels)
    for part in data.splits.values():
        for label in range(7):
            share = (part.labels == label).mean()
            assert share == pytest.approx((whole == label).mean(), rel=0.15)
    assert data.bias['skin_type'] == ('I', 'II', 'III', 'IV', 'V', 'VI')
    skin = Counter(joined(data, lambda part: part.bias['skin_type']).tolist())
    assert skin == {0: 9273, 1: 497, 2: 174, 3: 46, 4: 16, 5: 9}
    ruler = joined(data, lambda part: part.bias['ruler'])
    assert Counter(ruler.tolist()) == {-1: 932, 0: 8174, 1: 909}
    assert set(data.bias) == {'sex', 'site', 'skin_type', *labels.FLAGS}


def test_masks_belong_to_their_images(data):
    train = data.splits['train']
    rows = [train.read(row) for row in range(40)]
    assert all(set(np.unique(row['mask']).tolist()) <= {0, 255} for row in rows)
    areas = np.array([(row['mask'] > 0).mean() for row in rows])
    told = train.columns['mask_area'][:40].astype(float)
    np.testing.assert_allclose(areas, told, atol=0.08)  # of 8 x 8 pixels


def test_loading_takes_seconds(data):
    # Of CPU time; the headers of 20,030 files among it. Annotations are checked in tests.
    assert data.info['seconds'] < 15


def test_the_split_of_the_table_is_refused():
    message = (
        "groups are divided between splits; 'train' and 'val' share 459: ISIC_.* and ISIC_.* and "
        "456 more; 'train' and 'test' share 650: .*'val' and 'test' share 198: "
    )
    with pytest.raises(ValueError, match=message) as error:
        load('ham10000', ROOT, split='repo')
    assert '\n' not in str(error.value)
    table = read_table(ROOT / 'labels.csv')
    splits = {}
    for lesion, split in zip(table.column('lesion_id'), table.column('repo_split'), strict=True):
        splits.setdefault(lesion, set()).add(split)
    assert sum(len(found) > 1 for found in splits.values()) == 1175
    with pytest.raises(ValueError, match=r"data\.split='lesions' is unknown.*mean 'lesion'"):
        ham10000.build(options('ham10000', ROOT, split='lesions'), 0)


def test_the_images_of_the_templates_are_left_out():
    found = json.loads(
        (SHARED / 'data/artefact_templates/data/artefacts/meta.json').read_text(encoding='utf-8')
    )
    assert {artefact['name'] for artefact in found['artefacts']} == leave_out.TEMPLATES
    # With 'skip' no file is read before it is used.
    config = options('ham10000', ROOT, leave_out='templates', on_error='skip')
    less = ham10000.build(config, 0)
    assert less.info['left_out'] == {'templates': 51}
    ids = set(joined(less, lambda part: part.ids).tolist())
    assert len(ids) == 10015 - 51 and not ids & leave_out.TEMPLATES
    assert less.classes == ('not melanoma', 'melanoma')


def test_the_published_metadata_say_the_same():
    table = read_table(SHARED / 'data/metadata/HAM10000_metadata.csv')
    assert Counter(table.column('dx')) == COUNTS
    named = labels.named(table, 'dx', ham10000.DIAGNOSES, ham10000.ABOUT.classes)
    assert named.shape == (10015,)
    for name in ('sex', 'site'):
        codes = ham10000.VARIABLES[name].codes(table)
        assert (codes == -1).sum() == {'sex': 57, 'site': 234}[name]
    assert len(set(table.column('lesion_id'))) == 7470


def test_the_table_of_isic2017():
    table = read_table(SHARED / 'data/isic2017/labels.csv')
    assert len(table) == 2750
    assert Counter(table.column('dx')) == {'mel': 521, 'sk': 386, 'nv': 1843}
    assert Counter(table.column('split')) == {'train': 2000, 'val': 150, 'test': 600}
    assert sum(cell != '' for cell in table.column('mask')) == 2679
    assert sum(cell != '' for cell in table.column('orig_w')) == 2150
    rebuilt = [cell.startswith('isic2018_t1_uncropped') for cell in table.column('mask_source')]
    assert sum(rebuilt) == 529
    for variable in labels.FLAGS.values():
        assert (variable.codes(table) >= 0).sum() == 2450


def test_flags_of_isic2018():
    table = read_table(SHARED / 'data/metadata/isic_bias.csv')
    assert len(table) == 2594 and '' not in table.columns
    codes = labels.FLAGS['ruler'].codes(table)
    assert set(codes.tolist()) == {0, 1}
