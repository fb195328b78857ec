"""The fixtures of the report's tests: made-up run directories."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import synthetic as made_up


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return made_up


@pytest.fixture
def small_run(tmp_path: Path) -> Callable[..., Path]:
    """Make a small run directory: few members and intervals, so that figures are quick."""

    def make(**options: object) -> Path:
        return made_up.mnist_run(tmp_path / "run", **{"population": 5, "intervals": 4, **options})

    return make
