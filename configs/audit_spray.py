"""Clusters of what a trained classifier looks at (SpRAy), and which artefacts they share.

    python -m skinjax.main --config=configs/explain.py --config.init_from=runs/baseline \
        --config.n=0 --workdir=runs/baseline_lrp
    python -m skinjax.main --config=configs/audit_spray.py --config.audit.maps=runs/baseline_lrp

The first command makes relevance maps of all images of the test split, the second divides those of
each class by spectral clustering. Results: eigengaps, a two-dimensional view, exemplars, and which
bias variables are frequent in which cluster.

Measured: 600 images take five seconds of one core, 10,000 about 80, mostly for the view, and half a
gigabyte.
"""

from skinjax import kinds


def get_config():
    """Kind 'audit' for the maps in `audit.maps`."""
    return kinds.audit('spray')
