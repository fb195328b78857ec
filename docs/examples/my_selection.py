"""A selection of one's own: binary tournament, as in Jaderberg et al. (2017)."""

from dataclasses import dataclass

import hpo


@hpo.register_selection("tournament")
@dataclass(frozen=True)
class Tournament:
    """Each member meets another, drawn at random, and copies it if the other is better."""

    def check(self, population_size):
        if population_size < 2:
            raise hpo.OptionError("name", "tournament", "a population of at least 2")

    def __call__(self, population, rng):
        steps = rng.integers(1, len(population), size=len(population))
        met = [population[(one.slot + step) % len(population)] for one, step in zip(population, steps, strict=True)]
        return {one.slot: other.key for one, other in zip(population, met, strict=True) if other.score > one.score}
