"""What distinguishes the classes of the synthetic lesions, and how well anyone can tell them apart.

A lesion has a latent vector z (size, asymmetry, border, ...). Given the class it is normal,

    z | y ~ N(mu_y, I),

and a picture depends on the class through z alone, so no classifier of pictures can beat the one
that sees z. With two classes the log likelihood ratio is linear in z and, for d = mu_1 - mu_0,

    AUC = Phi(|d| / sqrt 2),   balanced accuracy = Phi(|d| / 2)

(Green and Swets, Signal Detection Theory and Psychophysics, 1966), which fixes |d|. With seven
classes the first formula holds for each pair, and the scale is such that the mean over the 21
pairs is the wanted AUC.
"""

import functools

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import log_softmax, ndtr, ndtri

from skinjax.data.canvas import STREAMS, generator

SHARED = (
    'size',
    'asymmetry',
    'border',
    'variegation',
    'veil',
    'atypia',
    'darkness',
    'globules',
)
# What only the seven-class lesions can have.
FURTHER = ('redness', 'lacunae', 'scar', 'cysts', 'vessels')
NAMES = {2: SHARED, 7: SHARED + FURTHER}
CLASSES = {
    2: ('nevus', 'melanoma'),
    7: ('akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc'),
}
MALIGNANT = {2: (False, True), 7: (True, True, False, False, True, False, False)}
# Pictures of each class in HAM10000 (Tschandl et al., Scientific Data 2018).
PROPORTIONS = {2: (1, 1), 7: (327, 514, 1099, 115, 1113, 6705, 142)}

_MELANOMA = np.array([0.7, 0.9, 0.8, 1.0, 1.1, 0.6, 0.7, -0.4])
_PROFILES = {
    2: np.stack([-0.5 * _MELANOMA, 0.5 * _MELANOMA]),
    7: np.array(
        [
            [0.1, 0.2, 0.4, 0.3, -0.6, -0.6, -0.8, -0.8, 1.2, -0.5, -0.4, 0.4, -0.2],
            [-0.2, 0.2, 0.0, 0.2, 0.5, -0.9, -0.6, -0.6, 0.8, -0.3, -0.4, -0.6, 1.5],
            [0.4, 0.2, 0.4, 0.3, -0.3, -0.2, 0.2, -0.2, -0.5, -0.6, -0.5, 1.5, -0.7],
            [-0.4, -0.5, -0.6, -0.6, -0.7, 0.5, -0.3, -0.4, 0.0, -0.5, 1.6, -0.6, -0.6],
            [0.5, 0.7, 0.7, 0.9, 1.1, 0.7, 0.7, -0.2, -0.4, -0.5, -0.4, -0.5, -0.5],
            [-0.3, -0.6, -0.6, -0.6, -0.7, 0.3, 0.1, 0.6, -0.8, -0.5, -0.5, -0.5, -0.7],
            [-0.3, -0.2, -0.3, -0.2, 0.2, -1.0, 0.2, -0.8, 1.3, 1.8, -0.4, -0.6, -0.3],
        ]
    ),
}


@functools.lru_cache(maxsize=32)
def class_means(classes: int = 2, bayes_auc: float = 0.97) -> Float[np.ndarray, 'k l']:
    """mu: the mean of the latents of each class, so far apart that the Bayes AUC is `bayes_auc`.

    Raises:
        ValueError: unless there are 2 or 7 classes and 0.5 <= bayes_auc < 1.
    """
    if classes not in _PROFILES:
        raise ValueError(f'synthetic lesions have 2 or 7 classes; found classes={classes}')
    if not 0.5 <= bayes_auc < 1.0:
        raise ValueError(f'bayes_auc must be at least 0.5 and below 1; found {bayes_auc}')
    profiles = _PROFILES[classes]
    if classes == 2:
        scale = np.sqrt(2.0) * ndtri(bayes_auc) / np.linalg.norm(_MELANOMA)
    else:
        scale = brentq(lambda s: mean_auc(s * profiles) - bayes_auc, 0.0, 100.0)
    means = scale * profiles
    means.flags.writeable = False
    return means


def mean_auc(means: Float[np.ndarray, 'k l']) -> float:
    """Phi(|mu_i - mu_j| / sqrt 2), the Bayes AUC of a pair of classes, averaged over the pairs."""
    i, j = np.triu_indices(len(means), 1)
    return float(ndtr(np.linalg.norm(means[i] - means[j], axis=1) / np.sqrt(2.0)).mean())


def sample(seed: int, index: int, mean: Float[np.ndarray, ' l']) -> Float[np.ndarray, ' l']:
    """The latents of one picture: its own standard normal numbers plus the mean of its class."""
    rng = generator(seed, index, STREAMS['latents'])
    return rng.standard_normal(len(mean)) + mean


def log_posterior(
    z: Float[np.ndarray, 'n l'], means: Float[np.ndarray, 'k l']
) -> Float[np.ndarray, 'n k']:
    """log p(y | z) for equally frequent classes; add log p(y) and renormalise for others."""
    return log_softmax(z @ means.T - 0.5 * np.sum(means**2, -1), axis=-1)


def log_likelihood_ratio(
    z: Float[np.ndarray, 'n l'], means: Float[np.ndarray, '2 l']
) -> Float[np.ndarray, ' n']:
    """log p(z | 1) - log p(z | 0), exactly."""
    return (z - means.mean(0)) @ (means[1] - means[0])


@functools.lru_cache(maxsize=32)
def bayes_balanced_accuracy(
    classes: int = 2, bayes_auc: float = 0.97, draws: int = 20_000
) -> float:
    """The best balanced accuracy of any classifier: Phi(|d|/2) for two classes.

    For more, the mean over `draws` fixed latent vectors per class: a standard error below 0.002.
    """
    means = class_means(classes, bayes_auc)
    if classes == 2:
        return float(ndtr(0.5 * np.linalg.norm(means[1] - means[0])))
    z = generator(0, 0, STREAMS['latents']).standard_normal((draws, means.shape[1]))
    hits = [(log_posterior(z + mean, means).argmax(1) == y).mean() for y, mean in enumerate(means)]
    return float(np.mean(hits))
