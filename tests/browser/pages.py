"""A page with a scatter of synthetic lesions, some with a ruler, for the tests of scatter.py."""

import numpy as np

from skinjax import document
from skinjax.auditing import scatter
from tests.helpers import tiny_records

N = 60
TRAP = '</script><script>window.bad = 1</script><img src=x onerror="window.bad=1">\'"&'


def columns(n=N):
    """Cluster k is the k-th third; every fourth has a ruler, every seventh is unknown."""
    rows = np.arange(n)
    ruler = np.where(rows % 4 == 0, 'yes', 'no')
    return {
        'cluster': (rows * 3 // n).astype(str).tolist(),
        'class': np.where(rows % 2, 'nevus', 'melanoma').tolist(),
        'ruler': np.where(rows % 7 == 6, '', ruler).tolist(),
        'probability': [f'{k / n:.3f}' for k in range(n)],
    }


def points(n=N):
    """Three clouds: on the left, in the middle (above), on the right."""
    rng = np.random.default_rng(0)
    middle = np.array([[0.0, 0.0], [5.0, 5.0], [10.0, 0.0]])
    return middle[np.arange(n) * 3 // n] + rng.normal(0, 0.6, (n, 2))


def part(n=N, titles=None, images=None, **options):
    """The scatter; image k is k grey, its map says the most in the middle."""
    grid = np.abs(np.linspace(-1, 1, 9))
    heat = 1 - np.maximum(grid[:, None], grid[None]) - 0.3
    records = tiny_records(n, size=32)
    images = images or (lambda row: records.read(row)['image'])
    titles = titles or [f'image {k}' for k in range(n)]
    return scatter.view(points(n), images, lambda row: heat, columns(n), titles, True, **options)


def write(path, *parts):
    """A page of the parts, and a short section before them."""
    sections = [document.Section('Facts', 'Some.'), document.Section('Where', parts=parts)]
    document.write_report(path, 'Scatter', sections)
    return path
