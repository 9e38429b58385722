"""Which tones of skin are asked for, in degrees of ITA."""

import numpy as np

from skinjax import skin
from skinjax.data.records import choices
from skinjax.styling.photos import Photo

DARKER = 'III,IV,V,VI'
ANGLES = ('ita=', 'monk=')  # begin a target that is one angle
LIMITS = (-60.0, 75.0)  # angles in degrees that can be asked for

Range = tuple[float, float]


def asked(target: str) -> list[Range]:
    """The ranges of ITA in degrees that `target` names.

    Raises:
        ValueError: neither types nor an angle.
    """
    if target.startswith(ANGLES):
        angle = _angle(target)
        return [(angle, angle)]
    names = [name.strip() for name in target.split(',')] if target else []
    for name in names:
        if name not in skin.TYPES:
            raise ValueError(f'style.target: no type {name!r}; {choices(name, skin.TYPES)}')
    return [skin.TYPES[name] for name in names]


def _angle(target: str) -> float:
    """The one angle in degrees that a target such as ita=-10 or monk=7 means."""
    name, _, value = target.partition('=')
    low, high = LIMITS
    if name == 'monk':
        angles = {str(k): skin.monk_ita(k) for k in range(1, len(skin.MONK) + 1)}
        known = [k for k, angle in angles.items() if low <= angle <= high]
        if value not in known:
            raise ValueError(
                f'style.target is {target!r}: expected a tone of {known[0]} to {known[-1]}, such '
                f"as monk=7; others of Monk's scale are beyond {low:g} to {high:g} degrees"
            )
        return angles[value]
    try:
        angle = float(value)
    except ValueError:
        angle = np.nan
    if not low <= angle <= high:
        raise ValueError(
            f'style.target is {target!r}: expected an angle of {low:g} to {high:g} degrees, such '
            'as ita=-10'
        )
    return angle


def chosen(photos: list[Photo], ranges: list[Range]) -> list[Photo]:
    """The photographs whose skin lies in one of the ranges; all where there are none.

    Raises:
        ValueError: that is none.
    """
    kept = [
        photo
        for photo in photos
        if not ranges or any(low <= photo.skin.ita <= high for low, high in ranges)
    ]
    if not kept:
        angles = ', '.join(f'{photo.id} {photo.skin.ita:.0f}' for photo in photos[:8])
        raise ValueError(
            f'style.target: the skin of no photograph has such an angle; in degrees: {angles}'
        )
    return kept
