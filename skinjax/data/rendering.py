"""One synthetic picture: latents, skin, lesion, artefacts and camera put together."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from skinjax.data import artefacts as artefact_drawings
from skinjax.data import cameras, latents, lesions
from skinjax.data.canvas import STREAMS, generator

ITA_MEAN, ITA_SD = 45.0, 13.0


@dataclasses.dataclass(frozen=True)
class Picture:
    """A photographed lesion.

    Attributes:
        image: what the camera gives.
        mask: 255 where there is lesion.
        artefacts: name -> 255 where it changes the scene, before the camera's blur, which
            spreads the change by up to `cameras.reach(size)` pixels.
        latents: what the class was allowed to influence.
        ita: individual typology angle of the skin before the camera, in degrees.
    """

    image: UInt8[np.ndarray, 's s 3']
    mask: UInt8[np.ndarray, 's s']
    artefacts: Mapping[str, UInt8[np.ndarray, 's s']]
    latents: Float[np.ndarray, ' l']
    ita: float


def render(
    seed: int,
    index: int,
    label: int,
    size: int,
    artefacts: Sequence[str] = (),
    camera: int | None = 0,
    ita: float | None = None,
    bayes_auc: float = 0.97,
    classes: int = 2,
) -> Picture:
    """The picture of a lesion of class `label` (see `latents.CLASSES`).

    Chance is keyed by (seed, index), so each argument changes only what it names: the same call
    with another artefact, camera or skin tone is an exact counterfactual. `camera` is 0 to 11,
    of which training uses the first 8, or None for the scene itself; `ita` None draws the tone.
    """
    z = latents.sample(seed, index, latents.class_means(classes, bayes_auc)[label])
    if ita is None:
        ita = skin_tone(seed, index)
    return compose(seed, index, z, ita, size, artefacts, camera)


@dataclasses.dataclass(frozen=True)
class Twins:
    """The same lesion photographed with and without artefacts.

    Attributes:
        clean: the picture without.
        marked: the picture with them; only their pixels, blurred by the camera, differ.
        coverage: name -> share of each pixel, 0 to 1, that the artefact covers in `marked`, after
            the camera's blur: how much of the clean picture is missing there.
    """

    clean: Picture
    marked: Picture
    coverage: Mapping[str, Float[np.ndarray, 's s']]


def twins(
    seed: int, index: int, label: int, size: int, artefacts: Sequence[str], camera: int | None = 0
) -> Twins:
    """A lesion of class `label` of two, with and without `artefacts`; other arguments of `render`.

    Raises:
        ValueError: an unknown artefact.
    """
    clean = render(seed, index, label, size, (), camera)
    marked = render(seed, index, label, size, artefacts, camera)
    colour = lesions.skin_colour(generator(seed, index, STREAMS['skin']), clean.ita)
    scene = lesions.draw(clean.latents, generator(seed, index, STREAMS['detail']), colour, size)
    _, coverage = artefact_drawings.cover(scene, tuple(artefacts), seed, index)
    shares = {
        name: cameras.spread(share, generator(seed, index, STREAMS['camera']), camera)
        for name, share in coverage.items()
    }
    return Twins(clean, marked, shares)


def skin_tone(seed: int, index: int, mean: float = ITA_MEAN, sd: float = ITA_SD) -> float:
    """The individual typology angle drawn for a picture, in degrees."""
    return lesions.sample_ita(generator(seed, index, STREAMS['tone']), mean, sd)


def compose(
    seed: int,
    index: int,
    z: Float[np.ndarray, ' l'],
    ita: float,
    size: int,
    artefacts: Sequence[str] = (),
    camera: int | None = 0,
) -> Picture:
    """The picture of a lesion with latents `z` on skin with the typology angle `ita`."""
    colour = lesions.skin_colour(generator(seed, index, STREAMS['skin']), ita)
    scene = lesions.draw(z, generator(seed, index, STREAMS['detail']), colour, size)
    image, masks = artefact_drawings.add(scene, tuple(artefacts), seed, index)
    return Picture(
        cameras.take(image, generator(seed, index, STREAMS['camera']), camera),
        _as_mask(scene.mask > 0.5),
        {name: _as_mask(mask) for name, mask in masks.items()},
        z,
        ita,
    )


def _as_mask(where: Bool[np.ndarray, 's s']) -> UInt8[np.ndarray, 's s']:
    return np.where(where, np.uint8(255), np.uint8(0))
