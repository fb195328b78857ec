"""Runs a user's command when a study is done, has failed, was interrupted or is out of time: to send a message, for example."""

import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.observer import StudyStopped
from hpo.engine.study_result import StudyResult
from hpo.engine.timing import clock

PATIENCE = 60.0
"""Seconds after which the command is killed."""
_LONGEST = 1000


def notified(command: str | None, name: str, run_dir: Path, run: Callable[[], StudyResult]) -> StudyResult:
    """Run a study, then a command of the shell, which gets what happened in environment variables.

    A command that fails, or takes more than 60 s, is a warning. Nothing runs if the study was refused before it started.

    Args:
        command: as one types it in a shell; None: none. No name is ever pasted into it.
        name: the study's.
        run_dir: the run directory.
        run: runs the study.
    """
    if command is None:
        return run()
    if not isinstance(command, str) or "\0" in command:
        raise InputError(f"on_finish = {command!r}: allowed: a command as a text, as one types it in a shell")
    start = time.monotonic()
    result: StudyResult | None = None
    end = StudyStopped("done")
    try:
        result = run()
        end = StudyStopped("out of time" if result.out_of_time else "done")
        return result
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        end = StudyStopped("interrupted" if interrupted else "failed", str(error) or type(error).__name__)
        if isinstance(error, InputError):
            command = None
        raise
    finally:
        if command is not None:
            _call(command, _facts(end, name, run_dir, result, time.monotonic() - start))


def _facts(end: StudyStopped, name: str, run_dir: Path, result: StudyResult | None, seconds: float) -> dict[str, str]:
    from hpo.report.numbers import printable
    from hpo.report.summary import headline

    summary = f"{name}: {end.reason} after {clock(seconds)}"
    if result is not None:
        summary += f": {headline(result.document, result.best)}"
    elif end.reason == "failed":
        summary += f": {end.message.strip().splitlines()[-1]}"
    report = None if result is None else result.report
    facts = {
        "STATUS": end.reason,
        "STUDY": name,
        "RUN_DIR": str(run_dir.absolute()),
        "REPORT": "" if report is None else str(report.absolute()),
        "SECONDS": f"{seconds:.0f}",
        "SUMMARY": printable(summary)[:_LONGEST],
    }
    return {f"HPO_{key}": value for key, value in facts.items()}


def _call(command: str, facts: dict[str, str]) -> None:
    """Run the command in a process group of its own, so that all of it can be killed."""
    try:
        process = subprocess.Popen(
            command, shell=True, env=os.environ | facts, stdin=subprocess.DEVNULL, process_group=0
        )
    except (OSError, ValueError) as error:
        trouble = f"could not be run: {error}"
    else:
        trouble = _waited(process)
    if trouble:
        warnings.warn(f"the command for the end of the study {trouble}", RuntimeWarning, stacklevel=3)


def _waited(process: "subprocess.Popen[bytes]") -> str:
    """Return what went wrong with a command; empty if nothing did."""
    try:
        code = process.wait(PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "was interrupted" if isinstance(error, KeyboardInterrupt) else f"took more than {PATIENCE:g} s: killed"
    return f"exited with {code}" if code else ""
