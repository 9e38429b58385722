"""Features by which sets of images are compared: those of one encoder, which is never trained.

Without weights it is a small network of random ones, after Naeem et al. 2020 ("Reliable fidelity
and diversity metrics"), who use random features for images unlike those of ImageNet. They see
colours and hardly texture, so the detail of images (what a blur takes away) is embedded too.
They tell a network that learns from one that does not; how good it is, trained weights tell.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from skinjax.data import pipeline
from skinjax.data.records import Records
from skinjax.objectives import perceptual

NONE: dict[str, Any] = {'name': '', 'pretrained': ''}
SEED = 20200417  # of random weights
WINDOW, GAIN = 5, 4.0  # pixels of the blur, and by what the detail is multiplied
SIZES = {'inception': 299}  # to which images are made for families, as the field's FID has it
SCALE = 10.0  # of random features, which then are about 1 for pictures of skin


def load(
    config: Any,
    field: str = 'config.evaluate.features',
    batch_size: int = 64,
    size: int = 0,
) -> 'Embedding':
    """The encoder of a section: NONE, or as `perceptual.section` makes it.

    Args:
        size: pixels a side that it sees; 0: that of SIZES, or else as many as there are.

    Raises:
        FileNotFoundError, ImportError, ValueError: as `perceptual.read`.
    """
    trained = bool(config.pretrained)
    if not trained:
        config = ConfigDict(perceptual.section('lesion_cnn', top='mean'))
    encoder = perceptual.read(config, field, SEED)
    return Embedding(encoder, trained, batch_size, size or SIZES.get(encoder.name, 0))


def detail(images: Float[Array, 'b h w 3']) -> Float[Array, 'b h w 3']:
    """1/2 + 4 (x - mean of the 5 x 5 pixels around it), of images from 0 to 1."""
    blurred = nn.avg_pool(images, (WINDOW, WINDOW), padding='SAME', count_include_pad=False)
    return 0.5 + GAIN * (images - blurred)


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Images to features, on the first device of this process.

    Attributes:
        encoder: and its weights.
        trained: whether they are more than random; if not, detail is embedded too.
        batch_size: images at a time.
        size: pixels a side to which images are resized first (linearly, and averaged where they
            become smaller); 0 for as they are.
    """

    encoder: perceptual.Encoder
    trained: bool
    batch_size: int
    size: int = 0

    @property
    def name(self) -> str:
        """What figures of these features are called after."""
        name = self.encoder.name if self.trained else 'a network of random weights'
        return f'{name}, images of {self.size} pixels' if self.size else name

    @functools.cached_property
    def _variables(self) -> Any:
        return jax.device_put(self.encoder.variables, jax.local_devices()[0])

    @functools.cached_property
    def _run(self) -> Any:
        def features(variables: Any, images: UInt8[Array, 'b h w 3']) -> Float[Array, 'b d']:
            seen = self._resized(images.astype(jnp.float32) / 255)
            if self.trained:
                return self.encoder(variables, seen)[0].astype(jnp.float32)
            found = [self.encoder(variables, view)[0] for view in (seen, detail(seen))]
            return SCALE * jnp.concatenate(found, axis=1).astype(jnp.float32)

        return jax.jit(features)

    def _resized(self, images: Float[Array, 'b h w 3']) -> Float[Array, 'b i j 3']:
        if not self.size:
            return images
        shape = (len(images), self.size, self.size, 3)
        return jax.image.resize(images, shape, 'bilinear', antialias=True)

    def check(self, size: int) -> None:
        """Let the encoder see a black image of so many pixels a side.

        Raises:
            ValueError: that is too small for it.
        """
        try:
            found = self(np.zeros((1, size, size, 3), np.uint8))
        except (TypeError, ValueError, ZeroDivisionError) as error:  # a map without pixels
            raise ValueError(
                f'images of {self.size or size} pixels are too small for {self.encoder.name!r} '
                f'({error}): give config.evaluate.features_size'
            ) from error
        if not np.isfinite(found).all():
            raise ValueError(
                f'the features that {self.encoder.name!r} has of black images of '
                f'{self.size or size} pixels are no numbers'
            )

    def __call__(self, images: UInt8[np.ndarray, 'n h w 3']) -> Float[np.ndarray, 'n d']:
        """Features of images; those of one do not depend on the others."""
        parts = []
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            rest = ((0, self.batch_size - len(part)), (0, 0), (0, 0), (0, 0))
            found = self._run(self._variables, np.pad(part, rest))
            parts.append(np.asarray(found)[: len(part)])
        return np.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images, their features and their classes."""

    images: UInt8[np.ndarray, 'n h w 3']
    features: Float[np.ndarray, 'n d']
    labels: Int[np.ndarray, ' n']

    def select(self, rows: np.ndarray) -> 'Pictures':
        """Those at `rows`, indices or a mask."""
        return Pictures(self.images[rows], self.features[rows], self.labels[rows])

    def of_class(self, label: int) -> 'Pictures':
        """Those of a class, perhaps none."""
        return self.select(self.labels == label)

    def spread(self, most: int) -> 'Pictures':
        """At most so many, evenly over all."""
        rows = np.linspace(0, len(self.labels) - 1, min(most, len(self.labels)))
        return self.select(rows.astype(int))


def images_of(records: Records, size: int) -> UInt8[np.ndarray, 'n h w 3']:
    """The images of all rows."""
    return np.stack([pipeline.read_row(records, row, size)['image'] for row in range(len(records))])
