"""torchvision for tests: imports beside a CPU build of torch, or skips.

torchvision's compiled operations need not load for its networks; two of their schemas must exist.
"""

import pytest

torch = pytest.importorskip('torch')
_LIBRARY = torch.library.Library('torchvision', 'FRAGMENT')
for _name in ('nms', 'qnms'):
    if not hasattr(torch.ops.torchvision, _name):
        _LIBRARY.define(_name + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')

models = pytest.importorskip('torchvision').models
