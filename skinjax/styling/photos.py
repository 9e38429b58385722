"""Photographs whose skin gives its colours to others: a folder with a table of their licences.

`styles.csv` has the columns `image`, a file beside it, and `licence`, what allows its use (or whose
consent); perhaps `mask`, the file of its lesion's mask, and `id`.
"""

import dataclasses
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from skinjax import skin
from skinjax.data import images
from skinjax.data.table import Table, read_table
from skinjax.styling import recolour

TABLE = 'styles.csv'
SIDE = 256


@dataclasses.dataclass(frozen=True)
class Photo:
    """A style photograph.

    Attributes:
        id: its name in tables.
        image: RGB, the central square.
        mask: of its lesion, 0 and 255, or None.
        skin: the colours of its bare skin.
    """

    id: str
    image: UInt8[ndarray, 's s 3']
    mask: UInt8[ndarray, 's s'] | None
    skin: recolour.Statistics


def load(path: str | Path, size: int = SIDE) -> list[Photo]:
    """The photographs of a folder with `styles.csv`, or the one file of such a folder.

    Raises:
        FileNotFoundError: no such folder, file or table.
        ValueError: no licence, no skin, or a colour that no skin has; with the file's name.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'style: {path} does not exist')
    folder = path if path.is_dir() else path.parent
    if not (folder / TABLE).is_file():
        raise FileNotFoundError(
            f'style: {folder / TABLE} does not exist: list the photographs in columns image and '
            'licence (what allows their use), and perhaps id and mask'
        )
    table = read_table(folder / TABLE)
    files = _column(table, 'image')
    rows = [row for row, file in enumerate(files) if path.is_dir() or file == path.name]
    if not rows:
        raise ValueError(f'style: {folder / TABLE} has no row of {path.name or "any photograph"}')
    return [_photo(folder, table, row, size) for row in rows]


def _column(table: Table, name: str) -> list[str]:
    return [cell.strip() for cell in table.column(name)]


def _photo(folder: Path, table: Table, row: int, size: int) -> Photo:
    file, licence = (_column(table, name)[row] for name in ('image', 'licence'))
    if not licence:
        raise ValueError(f'{table.cell(row, "licence")}: empty; say what allows the use of {file}')
    image, mask = images.decode(folder / file, size, geometry='crop'), None
    name = _column(table, 'mask')[row] if 'mask' in table.columns else ''
    if name:
        mask = images.decode_mask(folder / name, size, geometry='crop')
    try:
        found = recolour.statistics(image, mask)
    except recolour.NoSkinError as error:
        raise ValueError(f'style: {folder / file}: {error}') from error
    if not skin.is_skin(found.median):
        colour = ', '.join(f'{value:.0f}' for value in found.median)
        raise ValueError(
            f'style: {folder / file} shows no skin: most of it is of the colour L, a, b = {colour}'
        )
    ids = table.columns.get('id')
    return Photo(ids[row].strip() if ids else Path(file).stem, image, mask, found)
