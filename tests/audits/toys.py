"""Images with a planted stripe, and models that are plain functions of pixels."""

import numpy as np

from skinjax.data.records import Records

SIDE = 24
CLASSES = ('nevus', 'melanoma')
QUICK = {  # the least that an audit can do
    'detect': False,
    'bootstrap': 100,
    'probes': ('linear',),
    'probe_folds': 2,
    'cells': 4,
    'counterfactual': {
        'kinds': ('red_circle',),
        'masks': 1,
        'strengths': (),
        'removal': (),
        'examples': 0,
    },
    'clusters': {'exemplars': 1, 'perplexity': 5.0, 'size': 8},
}


def striped(n: int = 80, seed: int = 0, share: float = 0.5) -> Records:
    """Lesions that are darker in melanoma; a bright stripe below, the flag `ruler`, in half of each
    class. `share` of the images are melanoma."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) < share * n).astype(np.int32)
    ruler = (np.arange(n) % 2).astype(np.int32)
    images = rng.integers(110, 130, (n, SIDE, SIDE, 3)).astype(np.uint8)
    images[:, 4:12, 8:16] -= (40 * labels + rng.integers(0, 30, n))[:, None, None, None].astype(
        np.uint8
    )
    images[ruler == 1, -4:] = 250
    ids = np.array([f'toy-{k}' for k in range(n)])
    return Records(ids, labels, {'ruler': ruler}, ids, lambda row: {'image': images[row].copy()})


def shortcut(images: np.ndarray) -> dict[str, np.ndarray]:
    """A model that looks at the lesion a little and at the stripe a lot."""
    lesion = 120 - images[:, 4:12, 8:16].mean((1, 2, 3))
    stripe = images[:, -4:].mean((1, 2, 3)) - 120
    logits = (lesion - 35) / 20 + stripe / 40
    features = np.stack([lesion, stripe], 1) / 100
    return {'probabilities': 1 / (1 + np.exp(-logits)), 'features': features}


def constant(images: np.ndarray) -> np.ndarray:
    """A model that always says the same."""
    return np.full(len(images), 0.3)
