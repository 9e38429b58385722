"""MobileNetV2 with ImageNet weights, fine-tuned on the real images of ISIC 2017.

    python -m skinjax.main --config=configs/finetune_isic2017.py --config.data.root=FOLDER \
        --config.model.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

Variants: scratch, head, melanoma, METHOD_FLAG; see `finetuning` in skinjax/recipes.py. '' has three
classes, METHOD_FLAG is such as clgr_ruler.

Measured: 16 to 29 minutes on two shared cores; AUC of melanoma .819, of seborrheic keratosis .918,
mean .869 (three seeds).
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """Head first, then all weights, with running statistics of batch normalisation kept."""
    return recipes.finetuning(variant)
