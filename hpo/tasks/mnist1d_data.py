"""The data of task `mnist1d`: MNIST-1D, made by code rather than downloaded.

Greydanus and Kobak, "Scaling down deep learning with MNIST-1D", ICML 2024, section 2: ten hand-made templates, one for each digit,
are padded, stretched, scaled, moved, made noisy, sheared and subsampled. The templates, the parameters, the seed and the order of
the draws are those of the authors' program (github.com/greydanus/mnist1d), so the examples are those of its published file, up to
rounding.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from hpo.tasks.torch import ArrayDataset

Floats = NDArray[np.float64]

TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
"""The heights of the pen along each digit, 0 to 9."""
EXAMPLES, DEVELOPMENT = 5000, 4000
LENGTH = 40
"""Numbers of an example."""
SEED = 42
LEAST_PADDING, MOST_PADDING = 36, 60
SCALE = 0.4
"""A pattern is multiplied by 1 - SCALE / 2 to 1 + SCALE / 2."""
TRANSLATIONS = 48
"""A pattern is moved by 0 to TRANSLATIONS - 1 places, around the end."""
SHEAR = 0.75
"""A line that falls by up to SHEAR / 2, or rises, is added."""
CORRELATED_NOISE, BLUR = 0.25, 2
"""The noise where there is no pattern: its standard deviation before it is blurred, and that of the Gaussian that blurs it."""
NOISE = 0.02
"""The standard deviation of independent noise, everywhere."""


@cache
def datasets() -> tuple[ArrayDataset, ArrayDataset]:
    """Return the 4,000 development and the 1,000 test examples: inputs, shape (n, 40), and digits, shape (n,); once per process.

    The mean of all inputs is 0 and their standard deviation 1.
    """
    draws = np.random.RandomState(SEED)  # the generator of the published data; numpy never changes its numbers
    labels = np.repeat(np.arange(len(TEMPLATES)), EXAMPLES // len(TEMPLATES))
    inputs = _examples(_patterns()[labels], draws)
    order = draws.permutation(EXAMPLES)
    inputs, labels = inputs[order], labels[order]
    inputs = ((inputs - inputs.mean()) / inputs.std()).astype(np.float32)
    first, rest = slice(DEVELOPMENT), slice(DEVELOPMENT, None)
    return ArrayDataset(inputs[first], labels[first]), ArrayDataset(inputs[rest], labels[rest])


def _patterns() -> Floats:
    """Return the templates with a standard deviation of 1/6, each starting at 0: shape (10, 12)."""
    heights: Floats = np.array(TEMPLATES)
    heights /= heights.std(axis=1, keepdims=True)
    heights -= heights[:, :1].copy()
    return heights / 6


def _examples(patterns: Floats, draws: np.random.RandomState) -> Floats:
    """Return the patterns, shape (n, 12), as examples, shape (n, 40)."""
    length = patterns.shape[1] + MOST_PADDING
    made = np.empty((len(patterns), length))
    for example, pattern in zip(made, patterns, strict=True):
        padding = LEAST_PADDING + int(draws.rand() * (MOST_PADDING - LEAST_PADDING + 1))
        # Both ends of a pattern are 0, so `interp` continues it; where it has ended is left to noise.
        at = np.linspace(0, len(pattern) + padding - 1, length)
        ended = at >= len(pattern)
        drawn = np.interp(at, np.arange(len(pattern)), pattern) * (1 + SCALE * (draws.rand() - 0.5))
        move = draws.choice(TRANSLATIONS)
        noise = CORRELATED_NOISE * _blurred(draws.randn(length))
        example[:] = np.where(np.roll(ended, move), noise, np.roll(drawn, move)) + NOISE * draws.randn(length)
        example -= SHEAR * (draws.rand() - 0.5) * np.linspace(-0.5, 0.5, length)
    at = np.linspace(0, length - 1, LENGTH)
    return np.stack([np.interp(at, np.arange(length), example) for example in made])


def _blurred(noise: Floats) -> Floats:
    """Return noise convolved with a Gaussian that is cut off at four standard deviations, and reflected at the ends."""
    radius = 4 * BLUR
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / BLUR) ** 2)
    return np.convolve(np.pad(noise, radius, mode="symmetric"), weights / weights.sum(), mode="valid")
