"""Two bias variables unlearned at once: the ruler and the camera.

    python -m skinjax.main --config=configs/double.py            CLGR + CLGR
    python -m skinjax.main --config=configs/double.py:lntl_clgr  first head LNTL, second CLGR

The variant names the methods of the two heads; any pair of lntl, tabe and clgr works.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The experiment on the embedded synthetic lesions."""
    return recipes.double(variant)
