"""The lines of progress.jsonl: what has happened in a run directory, and how far the study is.

`hpo.engine.progress_file` writes them while a study runs, and `hpo.results.follower` reads them. Each line is one JSON object.
Each session of the study appends its own. From time to time the file is replaced by a shorter one, in which old `counts` are
missing; `session` and `n` then say which lines are known.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Lt
from pydantic import Field, TypeAdapter, ValidationError

from hpo.results.document import STRICT, Count, Measurement, Seed

HEARTBEAT = 10.0
"""The most seconds between two lines of a session that waits for its workers. One that computes itself may be silent for longer."""
SILENCE = 40.0
"""Seconds without a line after which a session is no longer assumed to be alive."""

Kind = Literal["search", "retraining", "test", "checkpoint"]
Reason = Literal["done", "out of time", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What every line has.

    Args:
        session: a random name of the session that wrote it.
        n: its number in the session, from 0.
        time: when it was written, in seconds since 1970.
    """

    __pydantic_config__ = STRICT

    session: str
    n: Count
    time: float


@dataclass(frozen=True, kw_only=True)
class Started(Line):
    """A session has started.

    Args:
        host: the machine's name.
        machine: what identifies the machine and its current boot, so that `pid` has a meaning; empty if unknown.
        pid: the process.
        pid_started: when it started, as the kernel counts; 0 if unknown.
        workers: how many segments run at a time.
        executor: where they run.
        device: of the task.
        seeds: of the replicates to run.
        budget: the number of intervals of one arm in one replicate.
        answers: how many results the session will get; `Counts.answers` counts up to it.
    """

    event: Literal["started"] = "started"
    host: str
    machine: str
    pid: Annotated[int, Ge(1), Lt(2**31)]
    pid_started: Count
    workers: Count
    executor: str
    device: str
    seeds: tuple[Seed, ...]
    budget: Count
    answers: Count


@dataclass(frozen=True)
class ArmCounts:
    """How far an arm is in this session's replicates.

    Args:
        replicates: finished ones.
        charged: intervals of the searches.
        computed: those of them that this session computed; the others were in the store.
        retrained: intervals of retraining.
        retrains: of how many.
        best: the best validation value so far; None if there is none.
        best_seed: its replicate.
    """

    replicates: Count
    charged: Count
    computed: Count
    retrained: Count
    retrains: Count
    best: Measurement
    best_seed: Seed | None


@dataclass(frozen=True)
class Running:
    """A job in flight.

    Args:
        worker: a number that no other job in flight has.
        kind: a segment of a search or of a retraining, a test, or a segment that runs again because its checkpoint is gone.
        seed: of the replicate.
        arm: the label of the arm that asked for it first.
        member: of the segment.
        interval: of the segment.
        since: when it was given to a worker, in seconds since 1970.
    """

    worker: Count
    kind: Kind
    seed: Seed
    arm: str
    member: Count
    interval: Count
    since: float


@dataclass(frozen=True, kw_only=True)
class Counts(Line):
    """How far the session is.

    Args:
        elapsed: seconds since it started.
        answers: results so far.
        left: the estimated seconds that are left, at most those if the study may stop when it is decided; None if unknown.
        arms: by label.
        in_flight: the number of jobs.
        running: the first `MOST_RUNNING` of them.
    """

    event: Literal["counts"] = "counts"
    elapsed: float
    answers: Count
    left: Measurement
    arms: dict[str, ArmCounts]
    in_flight: Count
    running: tuple[Running, ...]


MOST_RUNNING = 256


@dataclass(frozen=True, kw_only=True)
class Finished(Line):
    """All arms of a replicate are done.

    Args:
        seed: of the replicate.
        tests: the test metrics by arm; of a function, its values.
        done: the number of finished replicates of the study.
    """

    event: Literal["replicate"] = "replicate"
    seed: Seed
    tests: dict[str, dict[str, float | None]]
    done: Count


@dataclass(frozen=True, kw_only=True)
class Warned(Line):
    """A warning."""

    event: Literal["warning"] = "warning"
    text: str


@dataclass(frozen=True, kw_only=True)
class Stopped(Line):
    """The session has ended; a session that was killed has no such line.

    Args:
        reason: `done`: all that was to run has run.
        message: the error of one that failed, the signal of one that was interrupted; otherwise empty.
    """

    event: Literal["stopped"] = "stopped"
    reason: Reason
    message: str = ""


Event = Started | Counts | Finished | Warned | Stopped
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def to_line(event: Event) -> bytes:
    """Return an event as a line of the file."""
    return _EVENT.dump_json(event) + b"\n"


def of_line(line: bytes) -> Event | None:
    """Return the event in a line; None for one that was cut off, or that another version wrote."""
    try:
        return _EVENT.validate_json(line)
    except ValidationError:
        return None


# --- is it alive? --------------------------------------------------------------------------------------------------------


def this_machine() -> str:
    """Return what identifies this machine, its boot and its process namespace: where a process id has one meaning."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return ""


def start_of(pid: int) -> int:
    """Return when a process of this machine started, as the kernel counts; 0 if it does not exist or is unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    state, *fields = text.rpartition(b")")[2].split()  # its name may hold anything
    return 0 if state in (b"Z", b"X") else int(fields[18])


def identity() -> Mapping[str, str | int]:
    """Return what `Started` holds about this process."""
    pid = os.getpid()
    return {"host": os.uname().nodename, "machine": this_machine(), "pid": pid, "pid_started": start_of(pid)}


def is_alive(started: Started, last: float, now: float) -> bool | None:
    """Return whether a session that has not stopped is running; None if that cannot be known.

    On its machine the process is looked for. Elsewhere a session is alive if it has written a line recently; a longer silence says
    nothing about one that computes its segments itself. Nothing is locked, so the study cannot be disturbed.

    Args:
        started: its first line.
        last: the time of its last line.
        now: the time.
    """
    if started.machine and started.machine == this_machine():
        found = start_of(started.pid)
        if found or not _is_hidden(started.pid):
            return found == started.pid_started
    return True if now - last < SILENCE else None


def _is_hidden(pid: int) -> bool:
    """Return whether a process exists that this user cannot look at, as where /proc is mounted with `hidepid`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return not os.access(f"/proc/{pid}/stat", os.R_OK)
