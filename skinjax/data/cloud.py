"""Folders in cloud storage, by etils.epath: gs:// needs the package gcsfs, s3:// s3fs.

ArrayRecord reads and writes local files only, and OpenCV and CSV readers here start from local
paths. So data are prepared on a disk and copied to a bucket, and the other way round for training.
"""

import re
from pathlib import Path

from etils import epath


def local(path: str | Path, field: str) -> Path:
    """`path`, once it is known to be no address.

    Raises:
        ValueError: it is one, such as gs://bucket/folder; says what to do.
    """
    if re.match(r'[a-z][a-z0-9+.-]+:/', str(path)):
        raise ValueError(
            f'{field}: {path} is no local folder, and ArrayRecord files and images are read from '
            'local ones only: mount the bucket, or copy the folder first (gcloud storage cp -r)'
        )
    return Path(path)


def check(address: str) -> None:
    """Asks once for a folder or address, so that what cannot be reached is told before the work.

    Raises:
        ImportError: a package for this kind of address is missing.
        OSError: it cannot be reached.
    """
    epath.Path(address).exists()


def copy(source: Path, target: str, names: list[str]) -> int:
    """Copies the files `names` of `source` into `target`, a folder or an address such as gs://...

    A file that is there with the same size is left as it is, so that a copy that was broken off
    continues; only the last name is always copied, which says that the others are complete.

    Returns:
        How many files were copied.

    Raises:
        ImportError: a package for this kind of address is missing.
        OSError: it cannot be written to.
    """
    there, copied = epath.Path(target), 0
    for name in names:
        file = there / name
        size = (source / name).stat().st_size
        if name != names[-1] and file.exists() and file.stat().length == size:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        epath.Path(source / name).copy(file, overwrite=True)
        copied += 1
    return copied
