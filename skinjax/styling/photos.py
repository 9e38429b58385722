"""Photographs whose skin gives its colours to others: a folder with a table of their licences.

`styles.csv` has the columns `image`, a file beside it, and `licence`, what allows its use (or whose
consent); perhaps `mask`, the file of its lesion's mask, `id`, and, of an image of a data set, its
`source_id` and `group` there: training refuses what was styled by images that it is judged on.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from skinjax import skin
from skinjax.data import images
from skinjax.data.table import Table, read_table
from skinjax.styling import recolour

TABLE = 'styles.csv'
SIDE = 256
SMALLEST = 32  # pixels a side of a file


@dataclasses.dataclass(frozen=True)
class Photo:
    """A style photograph.

    Attributes:
        id: its name in tables.
        image: RGB, the central square.
        mask: of its lesion, 0 and 255, or None.
        skin: the colours of its bare skin.
        licence: what allows its use.
        digests: SHA-256 of its file, and of that of the mask.
        source_id, group: what it is in a data set, and whose; '' where it is in none.
    """

    id: str
    image: UInt8[ndarray, 's s 3']
    mask: UInt8[ndarray, 's s'] | None
    skin: recolour.Statistics
    licence: str = ''
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source_id: str = ''
    group: str = ''


def load(path: str | Path, size: int = SIDE) -> list[Photo]:
    """The photographs of a folder with `styles.csv`, or the one file of such a folder.

    Raises:
        FileNotFoundError: no such folder, file or table.
        ValueError: no licence, less than 32 pixels a side, no skin, or a colour that no skin has,
            with the file's name; two photographs of one id, or one without.
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
    return [
        _photo(folder, table, row, name, size)
        for row, name in zip(rows, _names(table, rows), strict=True)
    ]


def _column(table: Table, name: str) -> list[str]:
    return [cell.strip() for cell in table.column(name)]


def _names(table: Table, rows: list[int]) -> list[str]:
    """The id of each row, which no other may have; without a column of them the file's name."""
    column = 'id' if 'id' in table.columns else 'image'
    cells, known = _column(table, column), {}
    for row in rows:
        name = cells[row] if column == 'id' else Path(cells[row]).stem
        if not name:
            raise ValueError(f'{table.cell(row, column)}: empty; name every photograph')
        if name in known:
            raise ValueError(
                f'{table.cell(row, column)}: another photograph is called {name!r}, too, by '
                f'{table.cell(known[name], column)}; give each an id of its own in a column id'
            )
        known[name] = row
    return list(known)


def _photo(folder: Path, table: Table, row: int, own_id: str, size: int) -> Photo:
    file, licence = (_column(table, name)[row] for name in ('image', 'licence'))
    if not licence:
        raise ValueError(f'{table.cell(row, "licence")}: empty; say what allows the use of {file}')
    if min(images.header(folder / file)[1:]) < SMALLEST:
        raise ValueError(f'style: {folder / file} has less than {SMALLEST} pixels a side')
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
    own = {k: _column(table, k)[row] for k in ('source_id', 'group') if k in table.columns}
    files = {'sha256': folder / file} | ({'mask_sha256': folder / name} if name else {})
    digests = {k: hashlib.sha256(place.read_bytes()).hexdigest() for k, place in files.items()}
    return Photo(own_id, image, mask, found, licence, digests, **own)
