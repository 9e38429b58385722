"""A finished run as files that run without skinjax: compiled model, weights, labels, model card.

    python -m skinjax.main --config=configs/export.py --config.init_from=runs/clgr \
        --workdir=exports/clgr
    python exports/clgr/predict.py picture.jpg

`--config.tta=on` averages the eight flips and transposes of each image. See docs/export.md.

Measured: less than a minute on a CPU, proof of equality included.
"""

from skinjax import kinds


def get_config():
    """Kind 'export' for the run in `init_from`."""
    return kinds.export()
