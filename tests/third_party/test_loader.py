"""The input pipeline beside torch DataLoader, as users start the comparison."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.helpers import ROOT, environment

pytestmark = pytest.mark.slow


@pytest.fixture
def photographs(tmp_path):
    """A folder of small JPEG files."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'photographs'
    folder.mkdir()
    for k in range(24):
        image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48))
        cv2.imwrite(str(folder / f'{k}.jpg'), image)
    return folder


def test_the_comparison_of_loaders(photographs, tmp_path):
    pytest.importorskip('torch')
    flags = ['--size=32', '--threads=1', '--batch=8', '--rounds=3', '--seconds=0.2']
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'third_party.torch_baselines.loader'),
            *(f'--root={photographs}', f'--json={tmp_path / "found.json"}', *flags),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    found = json.loads((tmp_path / 'found.json').read_text())
    peers = {'pil-0', 'pil-1', 'draft-0', 'draft-1', 'tensor-0', 'tensor-1'}
    assert set(found['rate']) >= {'skinjax', *peers}
    for measure in ('rate', 'core'):
        assert all(len(one) == 3 and min(one) > 0 for one in found[measure].values())
        assert found['best'][measure] != 'skinjax'
        median, low, high = found['ratio'][measure]
        ours, theirs = found[measure]['skinjax'], found[measure][found['best'][measure]]
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        assert [low, median, high] == pytest.approx(ratios)
    assert set(found['failed']) <= {'jpeg-0'}
    for name in found['rate']:
        assert f'| {name} |' in done.stdout
    assert '24 images, 32 px, batch 8, 1 threads, 3 rounds' in done.stdout


def test_a_folder_without_images(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'third_party.torch_baselines.loader', f'--root={tmp_path}'],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode and 'no image files' in done.stderr
