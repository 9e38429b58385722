"""Training and inference steps of the PyTorch baselines, timed by skinjax's kind 'benchmark'.

    python -m third_party.torch_baselines.steps --case=resnet50 --batch=16 --size=128

Answers as `skinjax.timing.serve` says, with the modes infer, train and (always eager) style. Images
are channels-last; with --dtype=bfloat16 the encoder runs under autocast. Variants: eager; compile,
the encoder through `torch.compile`; max-autotune, the same in that mode. The optimizer is the fused
one.
"""

import argparse
import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from skinjax import timing
from third_party.torch_baselines import dcgan, resnet, style, unet
from third_party.torch_baselines.unlearning import METHODS, Trainer

VARIANTS = ('eager', 'compile', 'max-autotune')


def torchvision(name: str) -> Any:
    """torchvision's network without its last layer.

    Its compiled operations, which networks do not need, may not load beside this build of torch;
    two of their schemas must exist.
    """
    library = torch.library.Library('torchvision', 'FRAGMENT')
    for operation in ('nms', 'qnms'):
        if not hasattr(torch.ops.torchvision, operation):
            library.define(f'{operation}(Tensor dets, Tensor scores, float threshold) -> Tensor')
    from torchvision import models

    encoder: Any = models.get_model(name)
    encoder.num_features = encoder.classifier[-1].in_features
    encoder.classifier = nn.Identity()
    return encoder


LATENT = 10  # of the DCGAN
# Encoder of each case, and whether its training step is that of CLGR. `unet` is a whole network,
# and `dcgan` a pair of them that depends on the size of the images.
CASES: dict[str, tuple[Callable[[], Any], bool]] = {
    'resnet50': (lambda: resnet.resnet('resnet50'), False),
    'resnext101': (lambda: resnet.resnet('resnext101_32x8d'), False),
    'efficientnet_b3': (lambda: torchvision('efficientnet_b3'), False),
    'mobilenet_v2': (lambda: torchvision('mobilenet_v2'), False),
    'clgr': (lambda: resnet.resnet('resnet50'), True),
    'unet': (unet.DilatedUNet, False),
    'dcgan': (nn.ModuleDict, False),
    'vgg16': (style.VGG16, False),
    'lesion_cnn': (lambda: style.Blocks(batch_norm=True), False),
}
STYLES = {'vgg16': style.with_vgg, 'lesion_cnn': style.published}


def build(options: argparse.Namespace, device: torch.device) -> nn.Module:
    """The classifier, the U-Net or the pair of networks of a case, on the device."""
    make, unlearns = CASES[options.case]
    model: Any = make()
    if options.case == 'dcgan':
        model['generator'] = dcgan.Generator(LATENT, options.size)
        model['discriminator'] = dcgan.Discriminator(options.size)
    elif options.case != 'unet':
        heads = {'ruler': resnet.BiasHead(model.num_features, 2)} if unlearns else {}
        model = resnet.Classifier(model, 1, heads)
    model = model.to(device, memory_format=torch.channels_last)
    for part in model.values() if options.case == 'dcgan' else (model,):
        quicken(part, 'encode' if hasattr(part, 'encode') else 'forward', options, device.type)
    return model


def quicken(model: Any, inside: str, options: argparse.Namespace, device: str) -> None:
    """Run the method `inside` of a network in the precision and the variant asked for."""
    run = getattr(model, inside)
    if options.dtype == 'bfloat16':
        run = torch.autocast(device, torch.bfloat16)(run)
    if options.variant != 'eager':
        mode = 'default' if options.variant == 'compile' else options.variant
        run = torch.compile(run, mode=mode)
    setattr(model, inside, run)


def prepare(options: argparse.Namespace, mode: str) -> tuple[timing.Run, dict[str, Any]]:
    """The steps of a mode.

    Raises:
        ValueError: unknown mode.
    """
    if mode not in STEPS:
        raise ValueError(f'no mode {mode!r}: choose {" or ".join(STEPS)}')
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    torch.manual_seed(0)
    model, rows = build(options, device), torch.arange(options.batch, device=device)
    shape = (options.batch, options.size, options.size, 3)
    images = torch.randint(256, shape, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    if options.case == 'unet':  # the seven channels, as they go into the network
        images = images.float()[:, [0, 1, 2, 0, 1, 2, 0]] / 127.5 - 1
        images = images.contiguous(memory_format=torch.channels_last)
    once = STEPS[mode](options, model, images, rows)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()

    def run(steps: int) -> None:
        for _ in range(steps):
            once()
        if device.type == 'cuda':
            torch.cuda.synchronize()

    return run, {}


def train(options: argparse.Namespace, model: Any, images: Tensor, rows: Tensor) -> Callable:
    if options.case == 'unet':
        segmenter, masks = unet.Trainer(model.train(), fused=True), (images[:, 0] > 0).float()
        return lambda: segmenter.step(images, masks)
    if options.case == 'dcgan':
        pair = dcgan.Trainer(model['generator'], model['discriminator'], extra=0, fused=True)
        draw = functools.partial(torch.randn, len(rows), LATENT, device=rows.device)
        return lambda: pair.step(images.float() / 127.5 - 1, rows, draw)
    methods = {'ruler': METHODS['clgr']} if CASES[options.case][1] else {}
    trainer = Trainer(model.train(), methods, lr=0.1, fused=True)
    labels, bias = rows % 2, {'ruler': rows // 2 % 2} if methods else {}
    return lambda: trainer.step(images, labels, bias)


def infer(options: argparse.Namespace, model: Any, images: Tensor, rows: Tensor) -> Callable:
    network, seen = model.eval(), (images,)
    if options.case == 'dcgan':
        network, seen = model['generator'], (torch.randn(len(rows), LATENT).to(rows.device), rows)

    def once() -> None:
        with torch.inference_mode():
            network(*seen)

    return once


def stylise(options: argparse.Namespace, model: Any, images: Tensor, rows: Tensor) -> Callable:
    """Steps of the optimisation of all images, in the style of the first.

    Raises:
        ValueError: the case has no such loop.
    """
    del rows
    if options.case not in STYLES:
        raise ValueError(f'no mode style of {options.case}: choose {" or ".join(STYLES)}')
    pixels = images.float().contiguous(memory_format=torch.channels_last) / 255
    return STYLES[options.case](model.encoder, pixels, pixels[:1], fused=True).step


STEPS = {'infer': infer, 'train': train, 'style': stylise}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--case', choices=CASES, required=True)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--size', type=int, default=128)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
    parser.add_argument('--variant', choices=VARIANTS, default='eager')
    options = parser.parse_args()
    torch.set_float32_matmul_precision('high')  # on GPUs TF32, as XLA does
    on_gpu = torch.cuda.is_available()
    facts = {
        'device': torch.cuda.get_device_name() if on_gpu else 'cpu',
        'platform': 'gpu' if on_gpu else 'cpu',
        'threads': torch.get_num_threads(),
        'versions': {'torch': importlib.metadata.version('torch')},
    }
    memory = torch.cuda.max_memory_allocated if on_gpu else None
    timing.serve(facts, lambda mode: prepare(options, mode), memory)


if __name__ == '__main__':
    main()
