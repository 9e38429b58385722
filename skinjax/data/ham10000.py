"""HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161): 10,015 images of 7,470 lesions.

    HAM10000_metadata.csv (or .tab, or no ending)    HAM10000_images_part_1/    ..._part_2/
    HAM10000_segmentations_lesion_tschandl/*_segmentation.png    (need not be there)

Columns: lesion_id, image_id, dx, dx_type, age, sex, localization. A `labels.csv` is read instead
where there is one: with columns `image` and `mask`, skin types estimated from the angle ITA, and
probabilities of artefacts, of which one of at least one half counts as present.

Group before you split: the images of a lesion are alike. Five pairs of `lesion_id` are one lesion
each (`TWINS`), so that there are 7,465 groups; column `lesion_id` keeps the published name. The
metadata were checked against the file, the names of the folders against public loaders.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import FLAGS, SEX, SKIN_TYPES, Variable, named, same
from skinjax.data.records import DataSet, choices
from skinjax.data.table import Table

DIAGNOSES = {
    'akiec': 'actinic keratosis',
    'bcc': 'basal cell carcinoma',
    'bkl': 'benign keratosis',
    'df': 'dermatofibroma',
    'mel': 'melanoma',
    'nv': 'nevus',
    'vasc': 'vascular lesion',
}
ABOUT = About('ham10000', 10015, tuple(DIAGNOSES.values()), 'CC BY-NC 4.0', 'sex')
DEFAULTS: dict[str, Any] = {
    **archive.DEFAULTS,
    'split': 'lesion',  # seeded, lesions undivided; or 'repo': a column repo_split, which leaks
}
SITES = same(
    'abdomen', 'acral', 'back', 'chest', 'ear', 'face', 'foot', 'genital', 'hand',
    'lower extremity', 'neck', 'scalp', 'trunk', 'upper extremity',
)  # fmt: skip
VARIABLES = {
    'sex': SEX,
    'site': Variable('localization', SITES),
    'skin_type': Variable('fst_corrected', SKIN_TYPES),
    **FLAGS,
}
MASKS = 'HAM10000_segmentations_lesion_tschandl'
# Lesions that were published under two names, of patients of one age and sex: found by kind
# 'inspect', and looked at.
TWINS = {
    'HAM_0000140': 'HAM_0004919',
    'HAM_0000955': 'HAM_0007604',
    'HAM_0001109': 'HAM_0007525',
    'HAM_0002798': 'HAM_0006599',
    'HAM_0004213': 'HAM_0004214',
}


def build(config: Any, seed: int) -> DataSet:
    """The data set, divided 7 / 1 / 2 by lesion and `seed`.

    Raises:
        ValueError, FileNotFoundError: unknown `config.split`, or as `archive.records` and
            `archive.dataset`. With 'repo' `groups.load` refuses the result: 1,175 lesions leak.
    """
    if config.split not in ('lesion', 'repo'):
        choice = choices(config.split, ('lesion', 'repo'))
        raise ValueError(f'data.split={config.split!r} is unknown; {choice}')
    root = archive.root_of(config, ABOUT)
    derived = (root / 'labels.csv').is_file()
    if derived:
        table = _with_flags(published.read(root, 'labels.csv'))
    else:
        names = ('HAM10000_metadata.csv', 'HAM10000_metadata', 'HAM10000_metadata.tab')
        table = published.read(root, *names)
    found = archive.records(
        config,
        root,
        with_lesions(table),
        named(table, 'dx', DIAGNOSES, ABOUT.classes),
        VARIABLES,
        id='image_id',
        images=('HAM10000_images_part_1', 'HAM10000_images_part_2', 'HAM10000_images'),
        image='image' if derived else '',
        group='lesion',
        masks=('masks' if derived else MASKS,),
        suffix='' if derived else '_segmentation',
    )
    splits = {'all': found}
    if config.split == 'repo':
        of = table.array('repo_split')
        splits = {name: found.select(of == name) for name in ('train', 'val', 'test')}
    return archive.dataset(ABOUT, config, seed, splits, VARIABLES)


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables."""
    return tuple(VARIABLES) if published.has(config.root, 'labels.csv') else ('sex', 'site')


def with_lesions(table: Table) -> Table:
    """The table with a column `lesion`: `lesion_id`, but one name for each pair of `TWINS`."""
    names = [name.strip() for name in table.column('lesion_id')]
    return table.plus({'lesion': [TWINS.get(name, name) for name in names]})


def _with_flags(table: Table) -> Table:
    """Columns p_ruler ... as columns ruler ... of 0, 1 and, where the cell is empty, ''.

    Raises:
        ValueError: a cell is no number.
    """
    columns = {}
    for flag in FLAGS:
        if (name := f'p_{flag}') not in table.columns or flag in table.columns:
            continue
        cells = []
        for row, cell in enumerate(table.column(name)):
            try:
                cells.append(str(int(float(cell) >= 0.5)) if cell.strip() else '')
            except ValueError:
                raise ValueError(f'{table.cell(row, name)}: {cell!r} is no number') from None
        columns[flag] = cells
    return table.plus(columns)
