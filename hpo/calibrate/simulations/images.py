"""Seeds and test images: the crossed interval and the two that it is made of."""

import math

import numpy as np
from scipy import special

from hpo.calibrate.simulations.rows import ALPHA, Claim, Row, about, at_least, exactly, measured
from hpo.statistics.images import Crossed, crossed_interval
from hpo.statistics.interval import Interval

# Variances of what makes an image right or wrong: its ease for all models; for one arm; the model's seed; their meeting.
_EASE, TASTES, _LUCK, _MEETING = 2.0, {"arms alike": 0.05, "arms unlike": 1.0}, 0.01, 1.0
_ERROR_RATES = 0.05, 0.045


def crossed_rows(arms: str, images: int, n: int, studies: range, seed: int) -> tuple[Row, ...]:
    """Return how often the intervals over seeds and images hold what each is about; one that is not given misses nothing.

    A model gets an image right when a normal score is positive: the sum of the image's ease, its ease for this arm, the
    model's luck and a part of the model and the image together. So the true error rates, .05 and .045 over new seeds and
    new images, are known, and also those of new seeds on these images and of these models on new ones. The less the arms
    are alike in the images that they err on, the more an interval over the seeds alone leaves out.

    Args:
        arms: "arms alike", which err on nearly the same images, or "arms unlike".
        images: number of test images.
        n: number of seeds.
        studies: their numbers.
        seed: of all of them.
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

    # With few seeds the crossed interval is often as wide as that over the seeds, whose means have few values.
    covering = at_least(1 - ALPHA - 0.01) if n < 10 else about(1 - ALPHA, within=0.01)
    claims: dict[str, Claim | None] = {
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

    # Rounding of the ends apart.
    return width(found.interval_crossed) < (1 - 1e-9) * max(width(found.interval_seeds), width(found.interval_images))
