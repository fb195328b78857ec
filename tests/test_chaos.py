"""A few random faults; `python tests/support/chaos.py` inflicts many."""

import random

import pytest
from chaos import Chaos, inflict, undisturbed_answer


@pytest.mark.slow
def test_a_study_that_is_broken_at_random_moments_comes_to_the_same_answer(tmp_path):
    inflicted = inflict(10, 1, tmp_path, undisturbed_answer(tmp_path))
    assert inflicted["kill -9 of the coordinator"] >= 5
    assert len(inflicted) >= 4


def test_the_same_seed_inflicts_the_same_faults(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    drawn = [Chaos(tmp_path / name, random.Random("0 0")).rng.random() for name in "ab"]
    assert drawn[0] == drawn[1]
