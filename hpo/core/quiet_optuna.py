"""Silence Optuna."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log and experimental warnings within the block."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            # Optuna warns when it lowers a bound to the last reachable value; see `Float.optuna_high`.
            warnings.filterwarnings("ignore", message="The distribution is specified by")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
