"""Two bias variables unlearned at once: the ruler and the camera.

    python -m skinjax.main --config=configs/double.py
    python -m skinjax.main --config=configs/double.py:lntl_clgr

Variants: METHOD_METHOD; for the ruler and for the camera, any of lntl, tabe and clgr. '' is
clgr_clgr.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions."""
    return recipes.double(variant)
