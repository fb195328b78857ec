"""Pools that a user passes: any executor of `concurrent.futures`."""

import re
import subprocess
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from helpers import (
    RANDOM,
    STUDIES,
    answer,
    document,
    environment,
    hazard,
    lose_states,
    results,
    rows,
    run,
    sessions,
    write_study,
)

import hpo
from hpo.core.errors import InputError, StudyFailed


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as made:
        yield made


@pytest.mark.parametrize("name", STUDIES)
def test_a_pool_of_processes_gives_the_same_answer(serially, tmp_path, pool, name):
    run(STUDIES[name], tmp_path, executor=pool)
    assert answer(tmp_path) == serially[name]
    (session,) = sessions(tmp_path)
    assert (session["executor"], session["workers"], session["retries"]) == ("ProcessPoolExecutor", 2, 0)
    assert session["peak_worker_memory_mib"] > 10
    assert pool.submit(len, "open").result() == 4  # it is still there for its owner


@pytest.mark.slow
def test_dask_gives_the_same_answer(serially, tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        for name, study in STUDIES.items():
            run(study, tmp_path / name, executor=executor, workers=3)
            assert answer(tmp_path / name) == serially[name]


def test_a_pool_that_breaks_stops_the_study_which_then_goes_on_with_another(peacefully, tmp_path, pool):
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as breaks,
        pytest.raises(StudyFailed, match=r"the study.s ProcessPoolExecutor broke at segment [0-9a-f]+ .*seed [01]"),
    ):
        run(hazard(tmp_path, "die"), tmp_path / "run", executor=breaks)
    before = rows(tmp_path / "run")
    assert before > 0
    run(hazard(tmp_path, "peace"), tmp_path / "run", executor=pool)
    assert answer(tmp_path / "run") == peacefully
    first, second = sessions(tmp_path / "run")
    assert first["segments_computed"] == before
    assert second["segments_computed"] > 0


def test_states_that_are_lost_are_computed_again(serially, tmp_path, pool):
    lose_states(STUDIES["files"], tmp_path)
    run(STUDIES["files"], tmp_path, executor=pool)
    assert answer(tmp_path) == serially["files"]
    assert sessions(tmp_path)[1]["segments_recomputed"] > 0


def test_a_pool_that_is_shut_down_is_said_to_be(tmp_path):
    shut = ProcessPoolExecutor(2)
    shut.shutdown()
    with pytest.raises(StudyFailed, match="cannot schedule new futures after shutdown"):
        run(document(), tmp_path, executor=shut)


def test_an_exception_in_a_task_comes_back_with_its_traceback(tmp_path, pool):
    with pytest.raises(StudyFailed) as caught:
        run(hazard(tmp_path, "raise"), tmp_path / "run", executor=pool)
    assert "an exception in the task stopped the study at segment" in str(caught.value)
    assert "ValueError: as it was told" in str(caught.value)
    assert 'hazard_tasks.py", line' in str(caught.value)


def test_a_process_of_a_pool_with_other_numerics_is_refused(tmp_path, monkeypatch):
    from hazard_tasks import VICTIM

    monkeypatch.setenv(VICTIM, "yes")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        other.submit(len, "started with this environment").result()
        monkeypatch.delenv(VICTIM)
        with pytest.raises(
            StudyFailed, match=r"worker process \d+ on .* is refused: its numerics .*numerics.blas: 'another'"
        ):
            run(hazard(tmp_path, "other numerics"), tmp_path / "run", executor=other)
    assert rows(tmp_path / "run") == 0


class Unknown(Executor):
    """A pool that does not say how large it is."""


def test_pools_that_cannot_serve_are_refused(tmp_path):
    with ThreadPoolExecutor(1) as threads, pytest.raises(InputError, match="threads share one set of global random"):
        run(document(), tmp_path / "run", executor=threads)
    with pytest.raises(InputError, match="Unknown: it does not say how many jobs it runs at a time: give workers="):
        run(document(), tmp_path / "run", executor=Unknown())
    assert not (tmp_path / "run").exists()


SCRIPT = """
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
import sys
import hpo
from hpo.tasks.toy import Toy

@hpo.register_task("mine")
@dataclass(frozen=True)
class Mine(Toy):
    training_noise: float = 0.01

if __name__ == "__main__":
    spec = hpo.load_study("study.toml")
    with ProcessPoolExecutor(2, mp_context=get_context(sys.argv[1])) as pool:
        hpo.run_study(spec, out=sys.argv[1], executor=pool, report=False)
"""


def test_a_task_of_a_script_runs_in_a_pool_however_its_processes_start(tmp_path):
    write_study(tmp_path, document({"name": "mine"}))
    (tmp_path / "script.py").write_text(SCRIPT)
    for method in ("spawn", "forkserver", "fork"):
        command = [sys.executable, "script.py", method]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    found = [results(tmp_path / method)["replicates"] for method in ("spawn", "forkserver", "fork")]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2


@pytest.mark.slow
def test_the_documentation_shows_what_works(tmp_path):
    page = Path(hpo.__file__).parent.parent / "docs" / "how_to" / "executors.md"
    first, *others = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    for other in others:
        compile(other, str(page), "exec")
    (tmp_path / "script.py").write_text(first)
    write_study(tmp_path, document(arms=(RANDOM,), replicates=1, budget=2))
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sessions(tmp_path / "runs" / "small")[0]["executor"] == "ProcessPoolExecutor"
