"""Lesions on skin of another tone.

    colour     gains of light alone (`skinjax/styling/recolour.py`): fast, and the default
    transfer   and the texture of a photograph, by style transfer outside of the lesion
    original   the published style transfer, which changes lesion and all

Every image gets the tone that its own pixels draw by lot, among those that `target` names, or of a
photograph in `style`: the same in any order and company.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from skinjax.data.records import choices
from skinjax.editors import Editor, Example
from skinjax.styling import methods as style_methods
from skinjax.styling import options as style_options
from skinjax.styling import photos as style_photos
from skinjax.styling import recolour, targets
from skinjax.styling.photos import SMALLEST, Photo
from skinjax.styling.recolour import LESIONS, MATCHES
from skinjax.styling.targets import Range

METHODS = ('colour', *style_methods.METHODS)
DEFAULTS: dict[str, Any] = {
    'method': 'colour',  # or transfer, original
    # Fitzpatrick types, each the angles of skin.TYPES, such as V or III,IV,V,VI (one for each
    # image, evenly); or an angle, ita=-10 degrees or monk=7, that of a tone of Monk's scale. Empty:
    # III,IV,V,VI, or whatever the photographs have.
    'target': '',
    'style': '',  # folder of photographs with styles.csv, or one file of it: see styling/photos.py
    'match': 'tone',  # or reinhard, histogram: of a photograph
    'lesion': 'density',  # or shift, keep
    'feather': 8.0,  # width of the seam around the lesion, if it has one, in 256ths of the side
    'seed': 0,
    'transfer': dict(style_options.FIELDS),  # of the methods transfer and original
}
TINY = f'less than {SMALLEST} pixels a side'
MARGIN = 1.5  # degrees from the limits of a type that are not asked for: what rounding may cost

Image = UInt8[np.ndarray, 'h w 3']
Mask = UInt8[np.ndarray, 'h w']
Facts = dict[str, Any]


def build(config: Any) -> Editor:
    """Examples of another skin tone, with 'style': what was asked for (see `facts`).

    An image in which no skin is found, or of less than 32 pixels a side, stays as it is, and its
    facts say so under 'reason'.

    Raises:
        ValueError: an option out of range, or photographs that cannot be used. Later, from the
            editor: an example without the mask of its lesion, an image that is not uint8 [h, w, 3].
        FileNotFoundError: `style` does not exist.
    """
    check(config)
    ranges = targets.asked(config.target or ('' if config.style else targets.DARKER))
    photos = targets.chosen(style_photos.load(config.style), ranges) if config.style else []
    method = None if config.method == 'colour' else style_methods.METHODS[config.method](config)

    def edit(examples: Sequence[Example]) -> list[Example]:
        jobs = [_job(config, ranges, photos, k, one) for k, one in enumerate(examples)]
        if method is not None:
            _transfer(method, jobs)
        return [
            {**one, 'image': job.image, 'style': np.array(json.dumps(job.facts))}
            for one, job in zip(examples, jobs, strict=True)
        ]

    return edit


def facts(example: Example) -> Facts:
    """What the editor says of an example.

    `ita`, the angle that was drawn, in degrees; `asked`, the range it is from, [low, high], or None
    ('original' aims at none); `photo`, the id of the photograph, or ''; `reason`, why the image was
    left as it is, or ''; of style transfer `losses`, name -> the values before each step.
    """
    return json.loads(str(example['style']))


def check(config: Any) -> None:
    """Raise ValueError for an option out of range, or one that would do nothing."""
    for field, known in {'method': METHODS, 'match': MATCHES, 'lesion': LESIONS}.items():
        if config[field] not in known:
            raise ValueError(
                f'style.{field} {config[field]!r} is unknown; {choices(config[field], known)}'
            )
    if config.method != 'colour' and not config.style:
        raise ValueError(
            f'style.method={config.method!r} takes its style from photographs: set style.style, or '
            "style.method='colour'"
        )
    if config.match != 'tone' and not config.style:
        raise ValueError(
            f'style.match={config.match!r} takes its statistics from photographs: set style.style, '
            "or style.match='tone'"
        )
    if not 0 <= config.feather <= 64:
        raise ValueError(f'style.feather is {config.feather}, expected 0 to 64')
    if config.seed < 0:
        raise ValueError(f'style.seed must be at least 0, found {config.seed}')
    targets.asked(config.target)
    if config.style and config.target.startswith(targets.ANGLES):
        raise ValueError(
            f'style.target={config.target!r} asks for one angle, but a photograph in style.style '
            'has its own: name types, such as V,VI, or leave style.target empty'
        )
    for name, why in _idle(config).items():
        if _value(config, name) != _value(DEFAULTS, name):
            raise ValueError(f'style.{name} does nothing with {why}: leave it at its default')


def _idle(config: Any) -> dict[str, str]:
    """Options that do nothing, and with which others."""
    if config.method == 'original':
        names = ('match', 'lesion', 'feather', 'transfer.lesion_weight')
        return dict.fromkeys(names, "style.method='original'")
    if config.method != 'colour':
        return {}
    found = {f'transfer.{name}': "style.method='colour'" for name in style_options.FIELDS}
    if (config.match, config.lesion) == ('tone', 'density'):
        found['feather'] = "style.match='tone' and style.lesion='density', which have no seam"
    return found


def _value(values: Any, name: str) -> Any:
    """The field with a name such as transfer.steps; a list as a tuple."""
    for part in name.split('.'):
        values = values[part]
    return tuple(values) if isinstance(values, list) else values


@dataclasses.dataclass
class _Job:
    """An image on its way; `photo` where it is still to be transferred."""

    image: Image
    mask: Mask
    facts: Facts
    photo: Photo | None = None


def _job(config: Any, ranges: list[Range], photos: list[Photo], k: int, example: Example) -> _Job:
    """The image with its colours changed by gains, or as it is."""
    image, mask = _checked(k, example, config.method)
    rng = _generator(config.seed, image)
    photo = photos[int(rng.integers(len(photos)))] if photos else None
    target, limits = _target(rng, ranges, photo)
    found: Facts = {'photo': photo.id if photo else '', 'reason': ''}
    found['ita'] = target.ita if isinstance(target, recolour.Statistics) else target
    found['asked'] = None if config.method == 'original' else list(limits)
    if min(image.shape[:2]) < SMALLEST:
        return _Job(image.copy(), mask, {**found, 'reason': TINY})
    if config.method == 'original':
        return _Job(image.copy(), mask, found, photo)
    try:
        result = recolour.recolour(image, mask, target, config.match, config.lesion, config.feather)
    except recolour.NoSkinError as error:
        return _Job(image.copy(), mask, {**found, 'reason': str(error)})
    return _Job(result, mask, found, photo)


def _target(
    rng: np.random.Generator, ranges: list[Range], photo: Photo | None
) -> tuple[float | recolour.Statistics, Range]:
    """What is to be reached, and the range of angles that is as good."""
    if photo is not None:
        return photo.skin, (photo.skin.ita, photo.skin.ita)
    low, high = ranges[int(rng.integers(len(ranges)))]
    edge = min(MARGIN, (high - low) / 2)
    return float(rng.uniform(low + edge, high - edge)), (low, high)


def _transfer(method: Any, jobs: Sequence[_Job]) -> None:
    """Style transfer of the images that have a photograph, those of one shape together."""
    open_ = [job for job in jobs if job.photo is not None and not job.facts['reason']]
    for shape in dict.fromkeys(job.image.shape for job in open_):
        some = [job for job in open_ if job.image.shape == shape]
        # As many as there are examples: for every other number all would be compiled anew.
        filled = some + some[-1:] * (len(jobs) - len(some))
        columns = zip(*[(job.image, job.mask, job.photo) for job in filled], strict=True)
        for job, (image, losses) in zip(some, method(*columns), strict=False):
            job.image, job.facts['losses'] = image, losses


def _generator(seed: int, image: np.ndarray) -> np.random.Generator:
    """Random numbers of their own for each image."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16, salt=seed.to_bytes(8, 'little'))
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest.digest(), 'little')))


def _checked(k: int, example: Example, method: str) -> tuple[Image, Mask]:
    """Image and mask of an example; the mask is empty where 'original' needs none."""
    image = example['image']
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f'style: example {k}: expected an image uint8 [h, w, 3], found {image.dtype} '
            f'{list(image.shape)}; repeat a grey channel three times'
        )
    if method == 'original':
        return image, np.zeros(image.shape[:2], np.uint8)
    if 'mask' not in example:
        raise ValueError(
            f'style: example {k} has no mask of its lesion: use data with masks and '
            "data.with_mask=True, or let the editor 'segment' come first in the chain"
        )
    mask = example['mask']
    if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
        raise ValueError(
            f'style: example {k}: expected a mask uint8 {list(image.shape[:2])}, found '
            f'{mask.dtype} {list(mask.shape)}'
        )
    return image, mask
