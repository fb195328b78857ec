"""The fixtures of the report's tests: made-up run directories."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    # The importlib import mode puts no test folder on sys.path.
    spec = importlib.util.spec_from_file_location("report_synthetic", Path(__file__).with_name("synthetic.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return _load()


@pytest.fixture
def small_run(synthetic: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Make a small run directory: few members and intervals, so that figures are quick."""

    def make(**options: object) -> Path:
        return synthetic.mnist_run(tmp_path / "run", **{"population": 5, "intervals": 4, **options})

    return make
