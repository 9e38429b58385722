"""Archives as data sets are published (zip, tar, tar.gz, tar.bz2, tar.xz), unpacked safely.

An archive can name files outside the folder it is unpacked into, hold links and devices, or claim
to be small and be huge. Only plain files and folders are taken, each name is checked before it is
used, and sizes are counted as they come. All of an archive is unpacked into a folder of its own
first and then moved into place, so that a damaged one leaves nothing behind.
"""

import contextlib
import filecmp
import io
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from skinjax.engine.writer import read_json, write_json

MAX_MEMBERS = 2_000_000
MAX_BYTES = 2**40
_CHUNK = 2**20
_LONG = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_DAMAGE = (
    EOFError, NotImplementedError, RuntimeError, lzma.LZMAError, tarfile.TarError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class _Member(NamedTuple):
    """One entry: its name, what it is, its size as stated, and how to open its contents."""

    name: str
    kind: str  # file | folder, or what else it is
    size: int
    open: Callable[[], Any]


def unpack(
    archive: str | Path,
    folder: str | Path,
    *,
    max_members: int = MAX_MEMBERS,
    max_bytes: int = MAX_BYTES,
) -> bool:
    """Unpacks `archive` into `folder`, whole or not at all.

    An archive that has been unpacked there, and has not changed since, is not read again: a file
    `.unpacked-<name>.json` in the folder says so. If a process is killed while it moves the files
    into place, the next call ends what it began.

    Args:
        archive: a zip or tar file, compressed or not, told by its contents.
        folder: made where it does not exist. Files there are kept: one of the same name with other
            contents is an error.
        max_members, max_bytes: of the archive, unpacked; more is refused.

    Returns:
        Whether there was anything to do.

    Raises:
        FileNotFoundError: there is no such archive.
        ValueError: one line that names the archive and the member: no archive, damaged, cut off,
            encrypted, too large, a name that leads out of the folder, a link or device, two members
            of one name, or a file that is in the way.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise FileNotFoundError(f'{archive}: no such archive')
    marker = folder / f'.unpacked-{archive.name}.json'
    state = {'bytes': archive.stat().st_size, 'modified': archive.stat().st_mtime_ns}
    if read_json(marker) == state:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob('.unpacking-*'):  # of a process that was killed
        shutil.rmtree(old)
    place = folder / f'.unpacking-{archive.name}'
    try:
        _extract(archive, place, max_members, max_bytes)
        _move(archive, place, folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    write_json(marker, state)
    return True


def _extract(archive: Path, place: Path, max_members: int, max_bytes: int) -> None:
    """Every member as a file below `place`."""
    count, left = 0, max_bytes
    with _reading(archive), _members(archive) as members:
        for member in members:
            with _reading(archive, member.name):
                count, left = count + 1, left - member.size
                if count > max_members:
                    raise ValueError(f'more than {max_members} members')
                if left < 0:
                    raise ValueError(f'more than {max_bytes} bytes when unpacked')
                target = place / _relative(member)
                if member.kind == 'folder':
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                if target.exists():
                    raise ValueError('two members have this name')
                target.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, target.open('xb') as file:
                    _copy(source, file, member.size)
    place.mkdir(exist_ok=True)


def _relative(member: _Member) -> PurePosixPath:
    """The name of a member, once it is known to stay below the folder."""
    if member.kind not in ('file', 'folder'):
        raise ValueError(f'is a {member.kind}; only files and folders are unpacked')
    name = member.name.replace('\\', '/')  # as some programs write on Windows
    path = PurePosixPath(name)
    drive = name[1:2] == ':'
    if path.is_absolute() or drive or '..' in path.parts:
        raise ValueError('leads out of the folder')
    if '\0' in name or (member.kind == 'file' and not path.parts):
        raise ValueError('is no name of a file')
    return path


def _copy(source: Any, file: io.BufferedIOBase, size: int) -> None:
    """Exactly `size` bytes."""
    found = 0
    while chunk := source.read(min(_CHUNK, size - found + 1)):
        found += len(chunk)
        if found > size:
            break
        file.write(chunk)
    if found != size:
        raise ValueError(f'has {"more" if found > size else "fewer"} than the {size} bytes stated')


def _move(archive: Path, place: Path, folder: Path) -> None:
    """All files from `place` into `folder`; none where one is in the way."""
    files = [Path(top) / name for top, _, names in os.walk(place) for name in names]
    targets = {file: folder / file.relative_to(place) for file in sorted(files)}
    for file, target in targets.items():
        name = file.relative_to(place).as_posix()
        if not target.parent.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f'{archive}: {name}: a link in {folder} leads out of it')
        if target.is_symlink() or (
            target.exists() and not (target.is_file() and filecmp.cmp(file, target, shallow=False))
        ):
            raise ValueError(f'{archive}: {name}: {target} is there already, with other contents')
    for file, target in targets.items():
        with _reading(archive, file.relative_to(place).as_posix()):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


@contextlib.contextmanager
def _reading(archive: Path, member: str = '') -> Iterator[None]:
    """Whatever goes wrong becomes one line with the names of the archive and the member."""
    where = f'{archive}: {member!r}' if member else f'{archive}'
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f'{where}: damaged, cut off or encrypted ({error})') from None
    except ValueError as error:
        if str(error).startswith(f'{archive}: '):
            raise
        raise ValueError(f'{where}: {error}') from None
    except OSError as error:
        if error.errno is None:  # of the decompressors
            raise ValueError(f'{where}: damaged or cut off ({error})') from None
        raise OSError(f'{where}: {error}') from None


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """The members of a zip or tar file, in its order."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield (_zip_member(file, info) for info in file.infolist())
        return
    try:
        file = tarfile.open(archive, 'r:*', tarinfo=_Header)  # noqa: SIM115
    except tarfile.ReadError:
        raise ValueError('no zip or tar file, or cut off') from None
    with file:
        yield _tar_members(file)


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = 'folder' if info.is_dir() else 'file'
    mode = info.external_attr >> 28  # of Unix, the file's kind; 0 elsewhere
    if mode not in (0, 0o4, 0o10):
        kind = 'symbolic link' if mode == 0o12 else 'device'
    return _Member(info.filename, kind, info.file_size, lambda: file.open(info))


class _Header(tarfile.TarInfo):
    """A long name may fill a page or two, not the memory."""

    def _proc_member(self, tarfile: tarfile.TarFile) -> Any:
        if self.type in _LONG and self.size > _CHUNK:
            raise ValueError(f'a header of {self.size} bytes')
        return super()._proc_member(tarfile)  # pyright: ignore[reportAttributeAccessIssue]


def _tar_members(file: tarfile.TarFile) -> Iterator[_Member]:
    while info := file.next():
        kinds = {'file': info.isreg(), 'folder': info.isdir(), 'link': info.islnk()}
        kinds |= {'symbolic link': info.issym(), 'device': True}
        kind = next(name for name, found in kinds.items() if found)
        size = info.size if kind == 'file' else 0
        yield _Member(info.name, kind, size, lambda info=info: _opened(file, info))
        getattr(file, 'members').clear()  # noqa: B009  # or they would all be kept
    source: Any = file.fileobj
    source.seek(file.offset)
    if not source.read(tarfile.BLOCKSIZE):
        raise ValueError('cut off: the mark of its end is missing')
    while source.read(_CHUNK):  # the checksum of a compressed file stands behind everything
        pass


def _opened(file: tarfile.TarFile, info: tarfile.TarInfo) -> Any:
    found = file.extractfile(info)
    assert found is not None  # it is a regular file
    return found
