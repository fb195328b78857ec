"""Task `toy`: the known answer, and its noise."""

import subprocess
import sys

import numpy as np
import pytest

from hpo.core.seeding import forked_generators
from hpo.tasks.toy import Toy


def test_k_steps_have_a_closed_form() -> None:
    task = Toy()
    h = {"h0": 1.0, "h1": 0.25}
    state = task.initialize(h)
    for k in range(5):
        state = task.train(task.from_arrays(task.to_arrays(state), h), h, range(4 * k, 4 * k + 4))
    expected = 0.9 * (1 - 0.02 * np.array([1.0, 0.25])) ** 20
    np.testing.assert_allclose(state, expected, rtol=1e-13)
    metrics = task.evaluate(state, None).metrics
    assert metrics["score"] == pytest.approx(1.2 - (expected**2).sum())
    assert (metrics["theta0"], metrics["theta1"]) == tuple(state)


def test_noise_comes_from_the_segments_stream() -> None:
    task = Toy(training_noise=0.1, evaluation_noise=0.2)
    h = {"h0": 0.5, "h1": 0.5}

    def segment(key: int) -> tuple[list[float], float]:
        with forked_generators(key):
            state = task.train(task.initialize(h), h, range(4))
            return state.tolist(), task.evaluate(state, None).metrics["score"]

    assert segment(1) == segment(1)
    assert segment(1) != segment(2)
    (theta0, theta1), score = segment(1)
    assert score != 1.2 - theta0**2 - theta1**2
    many = np.array([segment(key)[1] for key in range(400)])
    assert 0.2 < many.std() < 0.6


def test_start_and_step_size_are_options() -> None:
    task = Toy(step_size=0.25, start=(1.0, 2.0))
    h = {"h0": 1.0, "h1": 0.0}
    assert task.train(task.initialize(h), h, range(3)).tolist() == [0.125, 2.0]


def test_torch_is_not_imported() -> None:
    code = "import sys, hpo.tasks.toy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
