"""What is decided about the synthetic pictures of a split before any is drawn."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from skinjax.data import latents, tones
from skinjax.data.canvas import STREAMS, generator
from skinjax.data.rendering import skin_tone

# Splits use different indices, so that they differ even with the same seed.
_OFFSETS = {'train': 0, 'val': 1 << 32, 'test': 2 << 32}


@dataclasses.dataclass(frozen=True)
class Population:
    """The pictures of a split, described.

    Attributes:
        name: of the split, train, val or test.
        latents: what the lesion is drawn from.
        ita: individual typology angle of the skin, in degrees.
        chance: uniform numbers for the camera, the artefact, hair and bubbles.
    """

    name: str
    seed: int
    indices: Int[np.ndarray, ' n']
    labels: Int[np.ndarray, ' n']
    malignant: Int[np.ndarray, ' n']
    latents: Float[np.ndarray, 'n l']
    ita: Float[np.ndarray, ' n']
    chance: Float[np.ndarray, 'n 4']

    def having(self, rates: Sequence[float]) -> Int[np.ndarray, ' n']:
        """Who has the artefact, given its chance: (benign, malignant) or one for each class."""
        which = self.malignant if len(rates) == 2 else self.labels
        return (self.chance[:, 1] < np.array(rates)[which]).astype(np.int32)

    def cameras(self, rates: Float[np.ndarray, '2 c']) -> Int[np.ndarray, ' n']:
        """The camera of each picture, given the probabilities for benign and malignant lesions."""
        limits = np.cumsum(rates, 1)[:, :-1][self.malignant]
        return (self.chance[:, :1] >= limits).sum(1).astype(np.int32)


def draw(config, seed: int, name: str, n: int) -> Population:
    """`n` pictures of split `name`, with the options of the synthetic source."""
    offset, k = _OFFSETS[name], config.classes
    indices = np.arange(n) + offset
    labels = np.repeat(np.arange(k, dtype=np.int32), _counts(n, k, name == 'test'))
    generator(seed, offset, STREAMS['order']).shuffle(labels)
    means = latents.class_means(k, config.bayes_auc)
    z = [latents.sample(seed, int(i), means[y]) for i, y in zip(indices, labels, strict=True)]
    ita = [skin_tone(seed, int(i), config.ita_mean, config.ita_sd) for i in indices]
    if config.tones != tones.NORMAL:
        ita = tones.draw(seed, indices, tones.OF[config.tones])
    chance = [generator(seed, int(i), STREAMS['table']).random(4) for i in indices]
    malignant = np.array(latents.MALIGNANT[k], np.int32)[labels]
    return Population(
        name,
        seed,
        indices,
        labels,
        malignant,
        np.array(z).reshape(n, means.shape[1]),
        np.array(ita),
        np.array(chance).reshape(n, 4),
    )


def _counts(n: int, classes: int, equal: bool) -> Int[np.ndarray, ' k']:
    """Pictures per class, by largest remainders; no class is left without any if n allows."""
    weights = np.ones(classes) if equal else np.array(latents.PROPORTIONS[classes], float)
    at_least = 1 if n >= classes else 0
    share = (n - at_least * classes) * weights / weights.sum()
    counts = np.floor(share).astype(int)
    first = np.argsort(counts - share, kind='stable')[: n - at_least * classes - counts.sum()]
    counts[first] += 1
    return counts + at_least
