"""How near one picture is to another: PSNR and SSIM, of all pixels or of those of a mask."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

Image = UInt8[np.ndarray, '_ _ _']
Mask = Bool[np.ndarray, '_ _']

SIGMA, WINDOW = 1.5, 11  # of the gaussian window of SSIM
K1, K2 = 0.01, 0.03
_RANGE = 255.0


def psnr(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """10 log10(255² / mean squared difference), in dB, over all pixels and channels.

    Infinite for equal pictures; nan where `mask` leaves no pixel.

    Raises:
        ValueError: pictures or mask of different sizes.
    """
    _check(image, reference, mask)
    squares = np.square(image.astype(np.float64) - reference)
    if mask is not None:
        squares = squares[mask]
    if not squares.size:
        return float('nan')
    error = float(squares.mean())
    return float(10 * np.log10(_RANGE**2 / error)) if error else float('inf')


def ssim_map(image: Image, reference: Image) -> Float[np.ndarray, 'h w']:
    """Structural similarity around each pixel, mean over the channels, -1 to 1.

    (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)), C = (K · 255)², with means and
    (biased) variances under a gaussian of standard deviation 1.5 cut to 11 x 11 (Wang et al.,
    "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004). Departure:
    the border is mirrored, where the paper leaves out the outermost 5 pixels.

    Raises:
        ValueError: pictures of different sizes.
    """
    _check(image, reference, None)
    x, y = image.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (K1 * _RANGE) ** 2, (K2 * _RANGE) ** 2
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similar /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return similar.mean(axis=2)


def ssim(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Mean of `ssim_map`, over the pixels of `mask` where there is one; nan where that is empty.

    Raises:
        ValueError: pictures or mask of different sizes.
    """
    _check(image, reference, mask)
    values = ssim_map(image, reference)
    values = values if mask is None else values[mask]
    return float(values.mean()) if values.size else float('nan')


def _blur(values: np.ndarray) -> Float[np.ndarray, 'h w c']:
    blurred = cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT)
    return blurred.reshape(values.shape)  # OpenCV drops a single channel


def _check(image: Image, reference: Image, mask: Mask | None) -> None:
    if image.shape != reference.shape:
        raise ValueError(
            f'pictures of one size expected, found {list(image.shape)} and {list(reference.shape)}'
        )
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(
            f'a mask of {list(image.shape[:2])} expected for a picture of {list(image.shape)}, '
            f'found {list(mask.shape)}'
        )
