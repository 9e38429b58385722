"""MClass (Brinker et al. 2019, doi:10.1016/j.ejca.2018.12.016): 100 images each, 20 melanomas.

    BenchmarkDermoscopic/{benign,malign}/*    (MClass-D, `modality='dermoscopic'`)
    BenchmarkClinical/{benign,malignant}/*    (MClass-C, MClass-ND; `modality='clinical'`)

Only for evaluation, beside 157 dermatologists. MClass-D are images of the ISIC archive: leave them
out of what is trained on (`data.leave_out`). Names of folders were checked against public code; the
licence is recalled.
"""

from typing import Any

from skinjax.data import archive, published
from skinjax.data.archive import About
from skinjax.data.labels import named
from skinjax.data.records import DataSet, choices

ABOUT = About('mclass', 100, ('benign', 'melanoma'), 'research only', trains=False)
DEFAULTS: dict[str, Any] = {**archive.DEFAULTS, 'modality': 'dermoscopic'}  # or 'clinical'
FOLDERS = {'dermoscopic': 'BenchmarkDermoscopic', 'clinical': 'BenchmarkClinical'}
SPELLING = {'benign': 'benign', 'malign': 'melanoma', 'malignant': 'melanoma'}


def build(config: Any, seed: int) -> DataSet:
    """The data set: one split, `test`.

    Raises:
        ValueError, FileNotFoundError: an unknown modality, or as `archive.records`.
    """
    if config.modality not in FOLDERS:
        choice = choices(config.modality, FOLDERS)
        raise ValueError(f'data.modality={config.modality!r} is unknown; {choice}')
    root = archive.root_of(config, ABOUT)
    folder = published.place(root, FOLDERS[config.modality])
    table = published.class_folders(root, folder, SPELLING)
    labels = named(table, 'class', SPELLING, ABOUT.classes)
    found = archive.records(config, root, table, labels, {}, id='id', image='image')
    return archive.dataset(ABOUT, config, seed, {'test': found}, {})


def variables(config: Any) -> tuple[str, ...]:
    """Names of the bias variables: none is published."""
    del config
    return ()
