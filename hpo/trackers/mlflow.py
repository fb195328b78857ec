"""MLflow: an experiment per study, in it a run per arm and seed, and one per member below it."""

import os
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from posixpath import normpath
from time import time
from typing import Any

from hpo.core.databases import check_database, sqlite_file
from hpo.core.observer import Place, ReplicateDone, SegmentDone, StudyStarted
from hpo.core.registry import register_tracker
from hpo.core.tracker import Tracker
from hpo.trackers.runs import Run, artifacts_of, by_run, copied_from, tests_of, values_of

_RUN_DIR, _SEED, _ARM, _MEMBER, _DONE = (f"hpo.{name}" for name in ("run_dir", "seed", "arm", "member", "done"))
_ALWAYS = "lineage/diverged"
"""A metric that every segment has; all metrics of a segment are written in one transaction."""
_MOST_METRICS, _MOST_PARAMS, _LONGEST_KEY, _LONGEST_VALUE = 1000, 100, 250, 6000
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@register_tracker("mlflow")
class MLflow(Tracker):
    """Writes runs to a tracking store; see docs/how_to/trackers.md.

    Args:
        destination: its URI, such as `sqlite:///mlflow.db` or `http://localhost:5000`.
    """

    library, extra = "mlflow", "mlflow"

    @classmethod
    def place(cls, destination: str) -> str:
        """Return the file of a database, or else the URI."""
        return str(sqlite_file(destination) or destination)

    def check(self) -> None:
        """Connect to the store; a new database gets its tables.

        Raises:
            InputError: it is a file of something else.
            Exception: it cannot be reached.
        """
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        check_database(self.destination, {"experiments"})
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self.destination)
        self._client.search_experiments(max_results=1)

    def open(self, study: StudyStarted) -> list[Place]:
        """Read back what the store holds of this run directory."""
        self.check()
        self._study, self._run_dir = study, str(study.run_dir.resolve())
        found = self._client.get_experiment_by_name(study.name)
        self._experiment = self._client.create_experiment(study.name) if found is None else found.experiment_id
        self._runs: dict[Run, str] = {}
        self._ended: set[Run] = set()
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            for each in page:
                self._take(each)
            token = page.token
            if not token:
                break
        return [
            (run.seed, run.arm, run.member, metric.step - 1)
            for run, name in self._runs.items()
            if run.member is not None
            for metric in self._client.get_metric_history(name, _ALWAYS)
        ]

    def log(self, segments: Sequence[SegmentDone]) -> None:
        """Write the metrics of segments, in transactions that hold whole segments."""
        for run, found in by_run(segments).items():
            name = self._run(run)
            self._describe(name, found)
            batch: list[Any] = []
            for segment in found:
                metrics = _metrics(values_of(segment), segment.interval + 1)
                if len(batch) + len(metrics) > _MOST_METRICS:
                    self._client.log_batch(name, metrics=batch)
                    batch = []
                batch += metrics
            self._client.log_batch(name, metrics=batch)

    def finished_replicate(self, replicate: ReplicateDone) -> None:
        """Write the test metrics of each arm and the paths of its files, and end the replicate's runs."""
        for arm, metrics in replicate.tests.items():
            run = Run(replicate.seed, arm, None)
            if run not in self._ended:
                name = self._run(run)
                for key, path in artifacts_of(self._study, run).items():
                    self._client.set_tag(name, f"artifact.{key}", path)
                for metric in _metrics(tests_of(metrics), self._study.intervals):
                    if not self._client.get_metric_history(name, metric.key):
                        self._client.log_batch(name, metrics=[metric])
        for run in [run for run in self._runs if run.seed == replicate.seed and run not in self._ended]:
            self._client.set_terminated(self._runs[run])
            self._ended.add(run)

    def _take(self, found: Any) -> None:
        """Keep a run that is one of ours."""
        tags = found.data.tags
        if tags.get(_RUN_DIR) == self._run_dir:
            member = tags.get(_MEMBER)
            run = Run(int(tags[_SEED]), tags[_ARM], None if member is None else int(member))
            self._runs[run] = found.info.run_id
            if found.info.status == "FINISHED":
                self._ended.add(run)

    def _run(self, run: Run) -> str:
        """Return the id of a run; create it if it is new."""
        if run not in self._runs:
            tags = {_RUN_DIR: self._run_dir, _SEED: str(run.seed), _ARM: run.arm}
            if run.member is not None:
                parent = self._run(run._replace(member=None))
                tags |= {_MEMBER: str(run.member), "mlflow.parentRunId": parent}
            created = self._client.create_run(self._experiment, tags=tags, run_name=run.name)
            self._runs[run] = created.info.run_id
        return self._runs[run]

    def _describe(self, name: str, segments: Sequence[SegmentDone]) -> None:
        """Write what may be written twice: the hyperparameters at the start, texts among them as they change, and copies."""
        from mlflow.entities import Param, RunTag

        params = [
            Param(_key(key), str(value)[:_LONGEST_VALUE])
            for segment in segments
            if segment.interval == 0
            for key, value in segment.hparams.items()
        ]
        tags = []
        for segment in segments:
            number = segment.interval + 1
            if (source := copied_from(segment)) is not None:
                tags.append(RunTag(f"lineage.{number}", f"copied from member {source}"))
            texts = {key: value for key, value in segment.hparams.items() if isinstance(value, str)}
            tags += [RunTag(_key(f"hparam.{number}.{key}"), text[:_LONGEST_VALUE]) for key, text in texts.items()]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(name, params=params[start : start + _MOST_PARAMS])
        for start in range(0, len(tags), _MOST_PARAMS):
            self._client.log_batch(name, tags=tags[start : start + _MOST_PARAMS])


def _metrics(values: Mapping[str, float], step: int) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(_key(name), value, int(1000 * time()), step) for name, value in values.items()]


def _key(name: str) -> str:
    """Return a name with the characters that MLflow allows; another name never gives the same key."""
    clean = normpath(re.sub(r"[^\w/. -]", "_", name)).lstrip("./") or "_"
    if clean == name and len(name) <= _LONGEST_KEY:
        return name
    return f"{clean[: _LONGEST_KEY - 9]}-{sha256(name.encode()).hexdigest()[:8]}"
