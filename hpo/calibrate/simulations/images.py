"""Seeds and test images: the crossed interval and its two components."""

import math

import numpy as np
from scipy import special

from hpo.calibrate.simulations.rows import ALPHA, RateClaim, Row, about, at_least, exactly, measured
from hpo.statistics.images import Crossed, crossed_interval
from hpo.statistics.interval import Interval

# Variances of the normal score of a prediction: of the image for all models; of the image for one arm; of the seed; of both.
_EASE, TASTES, _LUCK, _MEETING = 2.0, {"arms alike": 0.05, "arms unlike": 1.0}, 0.01, 1.0
_ERROR_RATES = 0.05, 0.045


def crossed_rows(arms: str, images: int, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often the intervals over seeds and images contain their targets; a missing interval counts as a hit.

    A model classifies an image correctly if a normal score is positive: the sum of the image's ease, its ease for this arm, the
    model's luck, and an interaction of model and image. So the true error rates over new seeds and new images are known, .05
    and .045, as are those of new seeds on these images and of these models on new images. The less alike the images are on which
    the arms err, the more an interval over the seeds alone leaves out.

    Args:
        arms: "arms alike", which err on nearly the same images, or "arms unlike".
        images: number of test images.
        n: number of seeds.
        studies: indices of the studies.
        seed: seed of all studies.
    """
    tasted = TASTES[arms]

    def study(generator: np.random.Generator) -> dict[str, bool]:
        ease = generator.normal(0, math.sqrt(_EASE), images)
        right, on_these, of_these = [], [], []
        for rate in _ERROR_RATES:
            taste = generator.normal(0, math.sqrt(tasted), images)
            luck = generator.normal(0, math.sqrt(_LUCK), (n, 1))
            meeting = generator.normal(0, math.sqrt(_MEETING), (n, images))
            level = -special.ndtri(rate) * math.sqrt(_EASE + tasted + _LUCK + _MEETING)
            right.append(level + ease + taste + luck + meeting > 0)
            on_these.append(special.ndtr(-(level + ease + taste) / math.sqrt(_LUCK + _MEETING)).mean())
            of_these.append(special.ndtr(-(level + luck) / math.sqrt(_EASE + tasted + _MEETING)).mean())
        found = crossed_interval(*right, alpha=ALPHA)
        truth = _ERROR_RATES[1] - _ERROR_RATES[0]
        return {
            "crossed interval: new seeds, new images": _spares(found.interval_crossed, truth),
            "seed interval: new seeds, this test set": _spares(found.interval_seeds, on_these[1] - on_these[0]),
            "image interval: these models, new images": _spares(found.interval_images, of_these[1] - of_these[0]),
            "seed interval: new seeds, new images": _spares(found.interval_seeds, truth),
            "crossed interval is narrower than one of the others": _narrower(found),
            "no interval over seeds: their means agree exactly": found.interval_seeds is None,
        }

    # With few seeds the crossed interval is often as wide as the seed interval, whose means take few values.
    covering = at_least(1 - ALPHA - 0.01) if n < 10 else about(1 - ALPHA, within=0.01)
    claims: dict[str, RateClaim | None] = {
        "crossed interval: new seeds, new images": covering,
        "seed interval: new seeds, this test set": covering,
        "image interval: these models, new images": about(1 - ALPHA, within=0.01),
        "seed interval: new seeds, new images": None,
        "crossed interval is narrower than one of the others": exactly(0.0),
        "no interval over seeds: their means agree exactly": None,
    }
    return measured(study, claims, data=f"{images:,} images, {arms}", n=n, studies=studies, seed=seed)


def _spares(interval: Interval | None, truth: float) -> bool:
    return interval is None or truth in interval


def _narrower(found: Crossed) -> bool:
    def width(interval: Interval | None) -> float:
        return (
            math.inf
            if interval is None or interval.low is None or interval.high is None
            else interval.high - interval.low
        )

    # The tolerance allows for rounding of the ends.
    return width(found.interval_crossed) < (1 - 1e-9) * max(width(found.interval_seeds), width(found.interval_images))
