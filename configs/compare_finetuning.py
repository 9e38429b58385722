"""Fine-tuning on ISIC 2017, over three seeds: weights or none, and unlearning of a flag.

    python -m skinjax.main --config=configs/compare_finetuning.py --config.root=FOLDER \
        --config.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz --config.jobs=2

Variants: ruler, ink, dark_corner, hair; every unlearning method and comparator against that flag,
melanoma against the rest. '' has three classes: from scratch, head alone, all weights.

Measured: about ten minutes a run of all weights; mean AUC of melanoma and seborrheic keratosis:
from scratch .706 (half of the epochs), head alone .824, all weights .869. Against the ruler (seed
0, test AUC): baseline .795, lntl .714, tabe .706, clgr .732.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """The runs of `configs/finetune_isic2017.py` side by side."""
    return recipes.compare_finetuning(variant)
