"""Fine-tuning on ISIC 2017, over three seeds: weights or none, and unlearning of a flag.

    python -m skinjax.main --config=configs/compare_finetuning.py --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz --config.jobs=2

Variants: '' (from scratch, head alone, all weights; three classes), or a flag (ruler, ink,
dark_corner, hair): every unlearning method and comparator, melanoma against the rest.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The runs of `configs/finetune_isic2017.py` side by side."""
    return recipes.compare_finetuning(variant)
