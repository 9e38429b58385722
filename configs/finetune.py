"""MobileNetV2 with ImageNet weights, fine-tuned on your own photographs or another data set.

    python -m skinjax.main --config=configs/finetune.py --config.data.root=FOLDER \
        --config.model.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz
    python -m skinjax.main --config=configs/finetune.py:clgr_folder_ink --config.data.root=FOLDER \
        --config.model.pretrained=mobilenet_v2_1.0_224_dequantised_f32.npz

Variants: SOURCE, SOURCE_VARIABLE, METHOD_SOURCE_VARIABLE; '' is folder: pictures and records.csv.
With a VARIABLE, such as a column `ink`, the network is also judged by it. A METHOD (baseline,
resample, group_dro, lntl, tabe, clgr) takes it away, or is what such a method is compared with:
smaller images, fewer epochs and lower rates than without one.

With few pictures set --config.data.batch_size=8. The weights are TensorFlow's; those of torchvision
or timm want --config.model.padding=torch and --config.data.mean and --config.data.std as they were
trained with.
"""

from skinjax import recipes


def get_config(variant: str = ''):
    """A new head first, then all weights, with running statistics of batch normalisation kept."""
    method, rest = recipes.method_of(variant or 'folder')
    source, bias = recipes.source_of(rest)
    if not source:
        raise ValueError(f'unknown variant {variant!r} of finetune: {recipes.known(())}')
    return recipes.finetuned(source, method, bias if method or rest != source else '')
