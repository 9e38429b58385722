"""Archives are unpacked whole or not at all, and never outside their folder."""

import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from skinjax.data import unpack
from skinjax.data.unpack import unpack as run

FILES = {'images/a.jpg': b'a' * 5000, 'images/b.jpg': os.urandom(5000), 'labels.csv': b'x,y\n'}


def make_zip(path: Path, files: dict[str, bytes], **modes: int) -> Path:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = modes.get(name, 0o100644) << 16
            file.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, files: dict[str, bytes], kind: str = 'w:gz', **types: Any) -> Path:
    with tarfile.open(path, kind) as file:  # pyright: ignore
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), types.get(name, tarfile.REGTYPE)
            info.linkname = '/etc/passwd'
            file.addfile(info, io.BytesIO(data))
    return path


def found(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob('*') if path.is_file() and path.name[0] != '.']
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_nothing_left(tmp_path: Path, archive: Path) -> None:
    assert {path.name for path in tmp_path.iterdir()} <= {archive.name, 'out'}
    assert not (tmp_path / 'out').exists() or not list((tmp_path / 'out').iterdir())


@pytest.mark.parametrize('kind', ['zip', 'w', 'w:gz', 'w:bz2', 'w:xz'])
def test_unpacked_once(tmp_path, kind):
    make = make_zip if kind == 'zip' else lambda path, files: make_tar(path, files, kind)
    archive = make(tmp_path / 'data.bin', {'empty/': b'', **FILES} if kind == 'zip' else FILES)
    out = tmp_path / 'out'
    assert run(archive, out) is True
    assert found(out) == FILES
    (out / 'labels.csv').unlink()
    assert run(archive, out) is False and 'labels.csv' not in found(out)
    os.utime(archive, ns=(0, 0))  # another archive, for all that is known
    assert run(archive, out) is True
    assert found(out) == FILES
    assert not list(out.glob('.unpacking-*'))


def test_a_second_archive_joins_the_first(tmp_path):
    out = tmp_path / 'out'
    run(make_zip(tmp_path / 'one.zip', FILES), out)
    run(make_tar(tmp_path / 'two.tar.gz', {'images/c.jpg': b'c', 'labels.csv': b'x,y\n'}), out)
    assert found(out) == {**FILES, 'images/c.jpg': b'c'}
    with pytest.raises(ValueError, match=r'three.zip: labels.csv: .* already, with other contents'):
        run(make_zip(tmp_path / 'three.zip', {'new.txt': b'', 'labels.csv': b'other'}), out)
    assert found(out) == {**FILES, 'images/c.jpg': b'c'}


def test_what_a_killed_process_left_is_finished(tmp_path, monkeypatch):
    archive, out = make_zip(tmp_path / 'a.zip', FILES), tmp_path / 'out'
    replace, moved = Path.replace, []

    def killed(self, target):
        if len(moved) == 1:
            raise KeyboardInterrupt
        moved.append(replace(self, target))

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', killed)
        patch.setattr(unpack.shutil, 'rmtree', lambda *_, **__: None)  # nobody tidies up
        with pytest.raises(KeyboardInterrupt):
            run(archive, out)
    assert len(found(out)) == 3 and (out / '.unpacking-a.zip').is_dir()
    assert run(archive, out) is True
    assert found(out) == FILES


NAMES = {
    '../evil': 'leads out', 'a/../../evil': 'leads out', '/tmp/evil': 'leads out',
    '..\\evil': 'leads out', 'C:\\evil': 'leads out', 'C:evil': 'leads out', '.': 'no name',
}  # fmt: skip


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_names_that_lead_out(tmp_path, make, name):
    archive = make(tmp_path / 'a.bin', {'good': b'x', name: b'evil'})
    with pytest.raises(ValueError, match=f'a.bin: .*{NAMES.get(name, "leads out")}'):
        run(archive, tmp_path / 'out')
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize(
    ('type_', 'text'),
    [
        (tarfile.SYMTYPE, 'is a symbolic link'),
        (tarfile.LNKTYPE, 'is a link'),
        (tarfile.CHRTYPE, 'is a device'),
        (tarfile.FIFOTYPE, 'is a device'),
    ],
)
def test_links_and_devices(tmp_path, type_, text):
    archive = make_tar(tmp_path / 'a.tar', {'x': b'', 'bad': b''}, bad=type_)
    with pytest.raises(ValueError, match=f"a.tar: 'bad': {text}"):
        run(archive, tmp_path / 'out')
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize(('mode', 'text'), [(0o120777, 'symbolic link'), (0o020666, 'device')])
def test_links_in_zip_files(tmp_path, mode, text):
    archive = make_zip(tmp_path / 'a.zip', {'bad': b'/etc/passwd'}, bad=mode)
    with pytest.raises(ValueError, match=f"a.zip: 'bad': is a {text}"):
        run(archive, tmp_path / 'out')
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_limits(tmp_path, make):
    archive = make(tmp_path / 'a.bin', {'zeros': bytes(10_000_000), 'more': b''})
    assert archive.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"a.bin: 'zeros': more than 9999999 bytes"):
        run(archive, tmp_path / 'out', max_bytes=9_999_999)
    with pytest.raises(ValueError, match=r"a.bin: 'more': more than 1 members"):
        run(archive, tmp_path / 'out', max_members=1)
    assert_nothing_left(tmp_path, archive)


def test_a_zip_file_that_states_a_wrong_size(tmp_path):
    archive = make_zip(tmp_path / 'a.zip', {'zeros': bytes(100_000)})
    data = archive.read_bytes()
    stated = (100_000).to_bytes(4, 'little')
    assert data.count(stated) == 2
    archive.write_bytes(data.replace(stated, (10).to_bytes(4, 'little')))
    with pytest.raises(ValueError, match=r"a.zip: 'zeros': "):
        run(archive, tmp_path / 'out')
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize('kind', ['zip', 'w', 'w:gz', 'w:bz2', 'w:xz'])
def test_archives_that_are_cut_off(tmp_path, kind):
    make = make_zip if kind == 'zip' else lambda path, files: make_tar(path, files, kind)
    data = make(tmp_path / 'a.bin', FILES).read_bytes()
    # An uncompressed tar file ends with blocks of zeros, which carry nothing.
    cuts = [1, 600, len(data) // 2, len(data) - 1]
    for cut in cuts if kind != 'w' else [100, 600, 5000, 5632, len(data.rstrip(b'\0'))]:
        (tmp_path / 'a.bin').write_bytes(data[:cut])
        with pytest.raises(ValueError, match=r'a\.bin: '):
            run(tmp_path / 'a.bin', tmp_path / 'out')
        assert_nothing_left(tmp_path, tmp_path / 'a.bin')


@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_archives_with_damage(tmp_path, make):
    archive = make(tmp_path / 'a.bin', FILES)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 255  # in b.jpg
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.bin: .*(damaged|cut off)'):
        run(archive, tmp_path / 'out')
    assert_nothing_left(tmp_path, archive)


def test_what_is_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.zip: no such archive'):
        run(tmp_path / 'none.zip', tmp_path / 'out')
    for data in (b'', b'garbage' * 99):
        (tmp_path / 'a.zip').write_bytes(data)
        with pytest.raises(ValueError, match=r'a.zip: no zip or tar file'):
            run(tmp_path / 'a.zip', tmp_path / 'out')
        assert_nothing_left(tmp_path, tmp_path / 'a.zip')


def test_two_members_of_one_name_and_a_file_as_a_folder(tmp_path):
    for names in (('a', './a'), ('a', 'a/b')):
        archive = make_tar(tmp_path / 'a.tar', dict.fromkeys(names, b'x'))
        with pytest.raises((ValueError, OSError), match=f"a.tar: '{names[1]}': "):
            run(archive, tmp_path / 'out')
        assert_nothing_left(tmp_path, archive)


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'out' / 'images').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(ValueError, match=r'a link in .* leads out of it'):
        run(make_zip(tmp_path / 'a.zip', FILES), tmp_path / 'out')
    assert not list((tmp_path / 'elsewhere').iterdir())
    assert found(tmp_path / 'out') == {}


def test_a_header_that_would_fill_the_memory(tmp_path):
    archive = tmp_path / 'a.tar.gz'
    with tarfile.open(archive, 'w:gz', format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo('x')
        info.pax_headers = {'comment': 'c' * 2_000_000}
        file.addfile(info)
    with pytest.raises(ValueError, match=r'a.tar.gz: a header of 2\d+ bytes'):
        run(archive, tmp_path / 'out')
    assert_nothing_left(tmp_path, archive)
