"""Clusters of images together with what a trained classifier looks at in them (GEBI).

    python -m skinjax.main --config=configs/explain.py --config.init_from=runs/baseline \
        --config.n=0 --workdir=runs/baseline_lrp
    python -m skinjax.main --config=configs/audit_gebi.py --config.audit.maps=runs/baseline_lrp

The first command makes relevance maps of all images of the test split; the second brings maps and
images into few dimensions by an Isomap each, and divides the images of each class into four
clusters. Results as of configs/audit_spray.py.

Measured: 600 images take eight seconds of one core, 10,000 about two minutes and a gigabyte, beside
the reading of images.
"""

from skinjax import kinds


def get_config():
    """Kind 'audit' for the maps in `audit.maps`."""
    return kinds.audit('gebi')
