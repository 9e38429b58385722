"""PH2 (Mendonça et al. 2013, doi:10.1109/EMBC.2013.6610779): 200 dermoscopic images with masks.

    PH2_dataset.txt
    PH2 Dataset images/IMD002/IMD002_Dermoscopic_Image/IMD002.bmp
    PH2 Dataset images/IMD002/IMD002_lesion/IMD002_lesion.bmp    (mask)

The table has cells between `||`, and the criteria in the fourth between `|`; the clinical diagnosis
is 0 (common nevus, 80), 1 (atypical nevus, 80) or 2 (melanoma, 40). The masks of regions and
colours are not read. Table and names were checked against public loaders; numbers are recalled.
"""

from pathlib import Path
from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import named
from skinjax.data.records import DataSet
from skinjax.data.table import Table

DIAGNOSES = {'0': 'common nevus', '1': 'atypical nevus', '2': 'melanoma'}
ABOUT = About('ph2', 200, tuple(DIAGNOSES.values()), 'research and education only')
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS}
COLUMNS = ('image', 'histological_diagnosis', 'clinical_diagnosis', 'criteria', 'colours')


def build(config: Any, seed: int) -> DataSet:
    """The data set, divided 7 / 1 / 2 by `seed`.

    Raises:
        ValueError, FileNotFoundError: as `archive.records` and `archive.dataset`.
    """
    root = archive.root_of(config, ABOUT)
    table = _read(published.place(root, 'PH2_dataset.txt'))
    found = archive.records(
        config,
        root,
        table,
        named(table, 'clinical_diagnosis', DIAGNOSES, ABOUT.classes),
        {},
        id='image',
        images=('PH2 Dataset images',),
        masks=('PH2 Dataset images',),
        suffix='_lesion',
    )
    return archive.dataset(ABOUT, config, seed, {'all': found}, {})


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables: none is published."""
    del config
    return ()


def _read(path: Path) -> Table:
    """The rows between the header and the legend at the end of the file."""
    rows = []
    for line in path.read_text(encoding='utf-8-sig', errors='replace').splitlines()[1:]:
        if not line.startswith('||'):
            break
        cells = [cell.strip() for cell in line.split('||')[1:-1]]
        if len(cells) != len(COLUMNS):
            raise ValueError(
                f'{path}: row {len(rows) + 2} has {len(cells)} cells between ||, expected '
                f'{len(COLUMNS)}'
            )
        rows.append(cells)
    if not rows:
        raise ValueError(f'{path}: no rows that start with ||; expected one for each image')
    return Table(path, {name: [row[k] for row in rows] for k, name in enumerate(COLUMNS)})
