"""The files of a published data set, wherever below a folder they were published.

Tables name images by an id without ending or folder, and archives are unpacked beside or inside one
another: files and folders are found by name, images by their id.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from skinjax.data.records import choices
from skinjax.data.table import Table, read_table

ENDINGS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
DEPTH = 2  # folders below the root in which tables and folders of images are looked for


def place(root: Path, *names: str) -> Path:
    """The file or folder of one of these `names`, in `root` or at most `DEPTH` folders below.

    Raises:
        FileNotFoundError: there is none; lists what is in `root`.
        ValueError: it is a symbolic link out of `root`.
    """
    if path := find(root, *names):
        return path
    listed = sorted(path.name for path in root.iterdir())
    more = f' and {len(listed) - 8} more' if len(listed) > 8 else ''
    raise FileNotFoundError(
        f'{root}: no {" or ".join(names)} here or in the {DEPTH} folders below; found '
        f'{", ".join(listed[:8]) or "nothing"}{more}'
    )


def find(root: Path, *names: str) -> Path | None:
    """As `place`, but None if there is no such file or folder."""
    level = [root]
    for depth in range(DEPTH + 1):
        for path in (folder / name for name in names for folder in level):
            if path.exists():
                if not path.resolve().is_relative_to(root.resolve()):
                    raise ValueError(
                        f'{path}: a symbolic link out of {root}; put the files inside it'
                    )
                return path
        if depth < DEPTH:
            level = [Path(name) for folder in level for name in sorted(_subfolders(folder))]
    return None


def has(root: str, *names: str) -> bool:
    """Whether `find` finds one of them; true where no root is given, and nothing is known yet."""
    return not root or (Path(root).is_dir() and find(Path(root), *names) is not None)


def _subfolders(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.path for entry in entries if entry.is_dir())


def read(root: Path, *names: str, header: Sequence[str] = ()) -> Table:
    """The table of one of these `names`; `header` names the columns of one that has no header.

    Raises:
        FileNotFoundError, ValueError: as `place` and `read_table`.
    """
    return read_table(place(root, *names), header)


def join(table: Table, other: Table, key: str, other_key: str = '') -> Table:
    """`table` with the further columns of `other`, '' in rows that `other` does not have.

    Raises:
        ValueError: two rows of `other` have one key.
    """
    keys = other.column(other_key or key)
    rows: dict[str, int] = {}
    for row, name in enumerate(keys):
        if (first := rows.setdefault(stem(name), row)) != row:
            numbers = f'{other.number(first)} and {other.number(row)}'
            raise ValueError(f'{other.path}: rows {numbers} have the same id {name!r}')
    order = [rows.get(stem(name), -1) for name in table.column(key)]
    more = {
        name: [cells[row] if row >= 0 else '' for row in order]
        for name, cells in other.columns.items()
        if name not in table.columns and name != (other_key or key)
    }
    joined = {**table.joined, **dict.fromkeys(more, (other, order))}
    return dataclasses.replace(table.plus(more), joined=joined)


def class_folders(root: Path, folder: Path, classes: Mapping[str, str]) -> Table:
    """One row for each image in the folders below `folder`, which are named like classes.

    Columns: `image` (its file, from `root` on), `name` (without folder and ending), `id` (the name,
    or class/name if names repeat) and `class` (the folder's name).

    Raises:
        ValueError: the folder of an image is not named like one of `classes`, or no images.
    """
    files = sorted(path for paths in images_by_stem(root, [folder]).values() for path in paths)
    kinds = [PurePosixPath(path).parent.name for path in files]
    for path, kind in zip(files, kinds, strict=True):
        if kind not in classes:
            raise ValueError(f'{path}: in a folder that is no class; {choices(kind, classes)}')
    if not files:
        raise ValueError(f'{folder}: no images; expected them in folders {", ".join(classes)}')
    names = [stem(path) for path in files]
    ids = names
    if len({*names}) < len(names):
        ids = [f'{kind}/{name}' for kind, name in zip(kinds, names, strict=True)]
    return Table(folder, {'image': files, 'name': names, 'id': ids, 'class': kinds})


def images_by_stem(root: Path, folders: Iterable[Path]) -> dict[str, list[str]]:
    """Name without ending -> files of that name, from `root` on, in and below the `folders`."""
    found: dict[str, list[str]] = {}
    seen = set()  # linked folders may be circles
    for folder in folders:
        for at, below, names in os.walk(folder, followlinks=True):
            if (real := os.path.realpath(at)) in seen:
                below.clear()
                continue
            seen.add(real)
            start = Path(at).relative_to(root).as_posix()
            for name in names:
                if name.lower().endswith(ENDINGS) and not name.startswith('.'):
                    found.setdefault(stem(name), []).append(f'{start}/{name}')
    return found


def search(
    table: Table,
    column: str,
    root: Path,
    folders: Sequence[Path],
    *,
    suffix: str = '',
    missing: str = 'raise',
) -> list[str]:
    """The file, from `root` on, that each id of a column names.

    Args:
        table: see there.
        column: of ids, with or without an ending.
        root: of the data.
        folders: to search, with all folders below them.
        suffix: of the file name after the id.
        missing: 'raise'; 'name' gives a name that does not exist, 'empty' gives ''.

    Raises:
        ValueError: an id with a folder in it, or of two files; names both.
        FileNotFoundError: no file, with 'raise'.
    """
    found = images_by_stem(root, folders)
    files = []
    for row, cell in enumerate(table.column(column)):
        where = table.cell(row, column)
        if '/' in cell or '\\' in cell:
            raise ValueError(f'{where}: {cell!r} leads out of the folders of the images')
        name = stem(cell) + suffix
        paths = found.get(name, [])
        if len(paths) > 1:
            raise ValueError(f'{where}: two files for {name!r}, {paths[0]} and {paths[1]}')
        if not paths and missing == 'raise':
            listed = ', '.join(str(folder) for folder in folders)
            raise FileNotFoundError(f'{where}: no image {name!r} in {listed}')
        none = f'{folders[0].relative_to(root).as_posix()}/{name}' if missing == 'name' else ''
        files.append(paths[0] if paths else none)
    return files


def stem(name: str) -> str:
    """The name of a file without folders and the ending of an image."""
    return PurePosixPath(bare(name)).name


def bare(name: str) -> str:
    """The name of a file without the ending of an image."""
    name = name.strip()
    return name.rpartition('.')[0] if name.lower().endswith(ENDINGS) else name
