"""What a running study tells those who watch it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpo.engine.scheduler import Answer
from hpo.study.spec import StudySpec


class Observer:
    """Receives events while a study runs. Override the methods that you need. Exceptions in them become warnings."""

    def started(self, spec: StudySpec, seeds: Sequence[int], workers: int, run_dir: Path) -> None:
        """All checks have passed; work begins."""

    def answered(self, seed: int, label: str, answer: Answer, computed: bool) -> None:
        """An arm got the result of a segment or a test; computed: this session computed it, and this arm is the first to get it."""

    def finished_replicate(self, seed: int, tests: Mapping[str, Mapping[str, float | None]], done: int) -> None:
        """All arms of a replicate are done.

        Args:
            seed: the replicate's seed.
            tests: its test metrics by arm.
            done: the number of finished replicates.
        """

    def stopped(self) -> None:
        """The study has ended: it is done, interrupted or failed."""


def live_progress() -> Observer | None:
    """Return what shows progress in a notebook or on standard error; None where nobody would see it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    notebook = hasattr(shell, "kernel")
    if not notebook and not (sys.stderr is not None and sys.stderr.isatty()):
        return None
    from hpo.engine.live import CellProgress, TerminalProgress

    return CellProgress() if notebook else TerminalProgress()
