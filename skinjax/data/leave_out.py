"""Images of a published data set that are not used: lists of ids, and how many each takes."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skinjax.data.published import bare
from skinjax.data.records import Records

# The images of HAM10000 (ISIC 2018, 2019) that the artefacts of Katsch et al. (2022,
# doi:10.5826/dpc.1203a126) are cut from: none may be in a test set in which these are inserted.
# fmt: off
_NUMBERS = (
    24338, 24367, 24550, 24669, 24688, 24793, 25309, 25319, 25400, 25647, 25769, 25964, 25978,
    26154, 26352, 26372, 26665, 26722, 26761, 27102, 27125, 27179, 27250, 27284, 27388, 27432,
    27567, 27734, 28087, 28410, 28487, 28602, 28834, 29348, 29360, 29572, 29606, 29789, 30445,
    30589, 30608, 30852, 31039, 31048, 31204, 31259, 31522, 31524, 33377, 33539, 33673,
)
# fmt: on
TEMPLATES = frozenset(f'ISIC_00{number}' for number in _NUMBERS)


def asked(config: Any) -> dict[str, Collection[str]]:
    """Reason -> ids of `config.leave_out`, a file or 'templates'.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not config.leave_out:
        return {}
    if config.leave_out == 'templates':
        return {'templates': TEMPLATES}
    path = Path(config.leave_out)
    if not path.is_file():
        raise FileNotFoundError(
            f"data.leave_out: {path} is neither 'templates' nor a file with the id of one image a "
            'line'
        )
    lines = path.read_text(encoding='utf-8-sig').splitlines()
    return {path.name: {bare(line.split(',')[0]) for line in lines}}


def less(
    splits: Mapping[str, Records], reasons: Mapping[str, Collection[str]]
) -> tuple[dict[str, Records], dict[str, int]]:
    """The splits less the ids of all reasons, and how many images each reason takes.

    Raises:
        ValueError: none of the ids of a reason is there.
    """
    found = {}
    for reason, ids in reasons.items():
        listed = sorted(ids)
        keep = {name: ~np.isin(part.ids, listed) for name, part in splits.items()}
        found[reason] = sum(int((~rows).sum()) for rows in keep.values())
        if listed and not found[reason]:
            raise ValueError(f'{reason}: none of its {len(listed)} images is in the data set')
        splits = {name: part.select(keep[name]) for name, part in splits.items()}
    return dict(splits), {reason: count for reason, count in found.items() if count}
