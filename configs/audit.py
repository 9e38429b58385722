"""The audit report of a trained classifier: performance, leaks, what moves it, what it looks at.

    python -m skinjax.main --config=configs/audit.py --config.init_from=runs/baseline
    python -m skinjax.main --config=configs/audit.py:grad_cam --config.init_from=runs/baseline

One page that works offline, report.html in the work directory, and the same as numbers in
results.json. docs/audit.md tells how to read it, and how to audit a model of any framework as a
plain function.

Variants: EXPLAINER; lrp by default, see configs/explain.py.

Measured: a baseline of 64 pixels, 100 images a split: 22 seconds of one core. 1,000 images of 224
pixels that a function explains: 45 seconds, a report of 8 MB.
"""

from skinjax import config as configs
from skinjax import kinds


def get_config(variant: str = 'lrp'):
    """Kind 'audit' for the run in `init_from`."""
    return kinds.audit('report', explainer=configs.plugin('explainers', variant or 'lrp'))
