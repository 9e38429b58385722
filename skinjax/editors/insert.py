"""Inserts an artefact into every image: a frame, ruler, red circle, hair, ink, bubbles, patches.

For counterfactual bias insertion (GEBI: Mikołajczyk et al., "Towards Explainable Classifiers Using
the Counterfactual Approach", 2021): what a classifier says of an image with and without the
artefact differs by the artefact alone. Where it lies depends on seed, kind and the image's name and
on nothing else: insertions are the same in any order and company, and at any size of the image.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from skinjax.data.records import Records, choices
from skinjax.editors import Editor, Example, overlays, templates
from skinjax.editors.overlays import KINDS

DEFAULTS: dict[str, Any] = {
    # identity, frame, frame_rectangular, ruler, red_circle, hair_short, hair_medium, hair_dense,
    # ruler_varied, ink, gel_bubbles or patches
    'kind': 'ruler',
    'seed': 0,
    'strength': 1.0,  # factor of the opacity, 0 to 1
    'radius': 0.48,  # of the frame's clear circle, as a share of the side
    'margin': 0.06,  # width of the bars of the rectangular frame, likewise
    'spread': 0.0,  # by which share, at most, frames of different seeds differ in these two
    # Folder of cut-outs (see templates.py) that are pasted where the kind is one of
    # templates.KINDS; '' draws it.
    'templates': '',
}
_FAINTEST = 1 / 255

Image = UInt8[np.ndarray, 'h w 3']


def build(config: Any) -> Editor:
    """Examples with the artefact, and 'artefact': 255 where a pixel may have changed.

    The name of an image is the hash of its pixels: equal images get equal artefacts. (`inserted`
    goes by ids.) What was marked as 'artefact' before stays marked; 'mask' stays as it is.

    Raises:
        ValueError: an option out of range, or a template that is not readable. Later, from the
            editor: an image that is not uint8 [h, w, 3], or a mask of another size.
        FileNotFoundError: there are no such templates.
    """
    check(config)

    def edit(examples: Sequence[Example]) -> list[Example]:
        found = []
        for k, example in enumerate(examples):
            _check_example(k, example)
            name = hashlib.blake2b(example['image'].tobytes()).hexdigest()
            image, share = insert(example['image'], name, config)
            marked = (share > 0) | (example.get('artefact', 0 * image[..., 0]) > 127)
            artefact = np.where(marked, np.uint8(255), np.uint8(0))
            found.append({**example, 'image': image, 'artefact': artefact})
        return found

    return edit


def check(config: Any) -> None:
    """Raise ValueError for an option out of range, or what `templates.load` raises."""
    if config.kind not in KINDS:
        raise ValueError(f'insert.kind {config.kind!r} is unknown; {choices(config.kind, KINDS)}')
    limits = {'strength': (0, 1), 'radius': (0, 0.75), 'margin': (0, 0.5), 'spread': (0, 0.5)}
    for field, (low, high) in limits.items():
        if not low <= config[field] <= high:
            raise ValueError(f'insert.{field} is {config[field]}, expected {low} to {high}')
    if _pasted(config):
        templates.load(config.templates, config.kind)


def _pasted(config: Any) -> bool:
    return bool(config.templates) and config.kind in templates.KINDS


def insert(image: Image, name: str, config: Any) -> tuple[Image, Float[np.ndarray, 'h w']]:
    """The image with the artefact, and the share of each pixel that it covers, 0 to 1.

    Pixels that are not covered keep their values bit for bit; a covered one is
    (1 - share) image + share colour, rounded.

    Args:
        image: RGB.
        name: of the image. Frames are the same for all names.
        config: the options of DEFAULTS.
    """
    height, width, _ = image.shape
    key = '' if config.kind in overlays.SAME else name
    rng = _generator(config.seed, config.kind, key)
    drawing = templates.pasted if _pasted(config) else KINDS[config.kind]
    share, colour = drawing(rng, (height, width), config)
    alpha = np.asarray(config.strength * share, np.float32)
    alpha = np.atleast_3d(alpha)  # the same for all channels, or one for each
    alpha[alpha < _FAINTEST] = 0
    mixed = (1 - alpha) * image + alpha * (255 * colour).astype(np.float32)
    return np.rint(mixed).astype(np.uint8), alpha.max(axis=2)


def _generator(*key: object) -> np.random.Generator:
    """Random numbers of their own for each key (Philox; Salmon et al., SC 2011)."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, 'little')))


def inserted(records: Records, config: Any) -> Records:
    """The records with the artefact in the image of every row, placed by its id.

    Raises:
        ValueError, FileNotFoundError: as `build`.
    """
    check(config)

    def read(row: int) -> dict[str, np.ndarray]:
        example = records.read(row)
        return {**example, 'image': insert(example['image'], str(records.ids[row]), config)[0]}

    return dataclasses.replace(records, read=read)


def options(**fields: Any) -> Any:
    """The options of DEFAULTS with `fields` replaced.

    Raises:
        ValueError: no such option.
    """
    from skinjax import config as configs

    return configs.make(configs.replaced("editor 'insert'", DEFAULTS, fields))


def _check_example(k: int, example: Mapping[str, np.ndarray]) -> None:
    image = example['image']
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f'insert: example {k}: expected an image uint8 [h, w, 3], found {image.dtype} '
            f'{list(image.shape)}'
        )
    if 'artefact' in example and example['artefact'].shape != image.shape[:2]:
        raise ValueError(
            f"insert: example {k}: 'artefact' is {list(example['artefact'].shape)}, its image "
            f'{list(image.shape[:2])}'
        )
