"""The result of a study, for people and for programs."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.errors import InputError
from hpo.core.run_files import SEGMENTS
from hpo.engine.load import load_model
from hpo.results.document import Results
from hpo.results.file import to_json
from hpo.schedules.best import Best, best_of
from hpo.study.bound import BoundTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Args:
        document: the content of results.json.
        run_dir: the run directory.
        task: the study's task.
        report: the path of the report; None if there is none.
        out_of_time: the time limit ended the study; the same call goes on.
        leader: if so, the best segment so far.
    """

    document: Results
    run_dir: Path
    task: BoundTask
    report: Path | None = None
    out_of_time: bool = False
    leader: Best | None = None

    def __repr__(self) -> str:
        from hpo.report.summary import in_words

        return "StudyResult: " + in_words(self.document, self.best, self.run_dir, stopped=self.out_of_time)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from hpo.report.summary import in_html

        return in_html(self.document, self.best, self.report or self.run_dir, stopped=self.out_of_time)

    @cached_property
    def results(self) -> dict[str, Any]:
        """The content of results.json, as nested mappings and sequences."""
        return to_json(self.document)

    @cached_property
    def best(self) -> Best | None:
        """The best hyperparameters by validation value; None if every answer diverged. See `hpo.load_best`.

        If the time limit ended the study before any replicate was finished, those of the best segment so far.
        """
        return best_of(self.document) or self.leader

    def frame(self) -> "DataFrame":
        """Return the segments as a data frame, one row each: of a function, one row per trial.

        The columns of hyperparameters and metrics have their plain names; one that is also the name of another column keeps
        its prefix, `hparam:` or `metric:`.
        """
        from pandas import read_csv

        from hpo.report.segments_csv import plain_names

        found = read_csv(self.run_dir / SEGMENTS, engine="python")  # which reads floats exactly
        return found.rename(columns=plain_names(list(found)))

    def figure(self, name: str, seed: int | None = None) -> "Figure":
        """Draw a figure of the report. A notebook shows it; nothing is written.

        Args:
            name: `incumbent`, `pairs`, `validation`, of a function `trials`, and so on; see docs/reference/results.md.
            seed: of a figure of one replicate; by default that of the best answer.

        Raises:
            InputError: there is no such figure, or nothing to show in it.
        """
        from hpo.report.data import load_run
        from hpo.report.figures.gallery import draw

        if seed is None and self.best is not None:
            seed = self.best.seed
        return draw(load_run(self.run_dir), name, seed)

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """The comparisons of every arm with the baseline; see docs/reference/results.md."""
        return list(self.results["comparisons"])

    def model(self, arm: str | None = None, seed: int | None = None) -> Any:
        """Return an arm's retrained winner, as `load_model` does; by default the best answer's.

        Raises:
            InputError: there is no such model.
        """
        if arm is None or seed is None:
            if self.best is None:
                raise InputError(f"{self.run_dir}: there is no model yet")
            arm, seed = arm or self.best.arm, self.best.seed if seed is None else seed
        return load_model(self.run_dir, arm, seed, task=self.task)
