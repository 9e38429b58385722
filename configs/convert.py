"""Weights between PyTorch files and skinjax checkpoints.

    python -m skinjax.main --config=configs/convert.py:resnet50 --config.source=resnet50.pth \
        --config.target=weights/resnet50
    python -m skinjax.main --config=configs/convert.py --config.source=runs/clgr \
        --config.target=clgr.safetensors --config.naming=timm

Variants: NETWORK; of the source file, such as resnet50. Runs and converted checkpoints know theirs.
A target that ends in .safetensors is a file for PyTorch, any other a directory that
`config.model.pretrained` takes. The number of classes is that of the source; bias heads stay
behind.
"""

from skinjax import kinds


def get_config(variant: str = ''):
    """Kind 'convert' for the network `variant`."""
    return kinds.convert(variant)
