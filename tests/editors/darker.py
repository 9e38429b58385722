"""An editor of a user's own: takes `by` from every pixel above it, and calls those artefacts."""

import numpy as np

DEFAULTS = {'by': 10}


def build(config):
    """The editor."""

    def edit(examples):
        return [
            {
                **example,
                'image': np.where(example['image'] > config.by, example['image'] - config.by, 0),
                'artefact': np.where((example['image'] > config.by).all(-1), 255, 0),
            }
            for example in examples
        ]

    def as_bytes(examples):
        return [{k: v.astype(np.uint8) for k, v in one.items()} for one in edit(examples)]

    return as_bytes
