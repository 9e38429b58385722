"""Steps per second, memory and compile time of skinjax beside the PyTorch baselines.

    launch/local.sh --config=configs/benchmark.py
    launch/local.sh --config=configs/benchmark.py:gpu

Variants: gpu; 128 x 224 px in bfloat16. '' has five cases at 16 x 128 px, inference, training, and
training at the end of the input pipeline, in float32.

Measured: about half an hour on two cores; docs/benchmarks.md has the tables.

Both sides inherit the allocator settings of launch/local.sh. The peers need torch (efficientnet_b3
and mobilenet_v2 also torchvision) and the folder third_party of the repository; what cannot run is
left out and named. Results: table.md and results.json. On a machine without what training needs:
`python -m skinjax.benchmark --help`.
"""

from skinjax import kinds


def get_config(variant: str = ''):
    """Kind 'benchmark' for the CPU or, with `variant` = 'gpu', an accelerator."""
    if variant not in ('', 'gpu'):
        raise ValueError(f"unknown variant {variant!r} of benchmark: choose '' or gpu")
    if variant:
        return kinds.benchmark(batch=128, size=224, dtype='bfloat16', steps=20)
    return kinds.benchmark()
