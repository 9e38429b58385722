"""Which pixels a finished run looks at: relevance maps, and whether they can be believed.

    python -m skinjax.main --config=configs/explain.py --config.init_from=runs/baseline \
        --workdir=runs/baseline_lrp
    python -m skinjax.main --config=configs/explain.py:grad_cam --config.init_from=runs/baseline \
        --config.split=marked --config.target=melanoma --workdir=runs/baseline_cam

Variants: lrp, saliency, gradient_x_input, smooth_grad, integrated_gradients, grad_cam,
visual_backprop; an explainer, '' is lrp. See docs/explain.md.

Measured: 200 images of 64 pixels take a minute or two on a CPU, checks included.
"""

from skinjax import kinds


def get_config(variant: str = ''):
    """Kind 'explain' for the run in `init_from`."""
    return kinds.explain(variant)
