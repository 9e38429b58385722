"""torchvision for tests: imports beside a build of torch that is not its own, too, or skips.

Then its compiled operations do not load. Its networks need none of them, but its import asks for
two schemas, which must not be defined where they are: that would end the process.
"""

import contextlib

import pytest

torch = pytest.importorskip('torch')
try:
    with contextlib.suppress(ImportError):
        import torchvision  # noqa: F401
except RuntimeError:
    _LIBRARY = torch.library.Library('torchvision', 'FRAGMENT')
    for _name in ('nms', 'qnms'):
        _LIBRARY.define(_name + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')

models = pytest.importorskip('torchvision').models
