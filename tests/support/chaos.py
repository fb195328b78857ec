"""Breaks a running study at random moments, again and again, until it is done: does the same answer come out?

Each session is a real run in processes of its own. A fault is drawn from a seeded generator, and so is the moment: a number of
segments that the session gets done first. What follows a fault is checked at once (no orphan is left, the error names what is
broken); what came of the study is compared with an undisturbed serial run, byte for byte. `tests/test_chaos.py` runs a few kills;

    python tests/support/chaos.py --kills 100 --seed 0

runs many, with `--ray` also on a cluster of two nodes, and prints how often each fault was inflicted
(docs/explanation/reliability.md).
"""

import argparse
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from helpers import GREEDY, PBT, RANDOM, alive, answer, children, cli, document, rows, run, start, until, write_study

STUDY = document({"name": "walk", "size": 9000}, arms=(RANDOM, PBT, GREEDY), budget=10, replicates=8)
"""States of 72 kB: they are files."""
LIMIT = ("--segment-timeout", "2")
EXECUTORS: tuple[tuple[str, ...], ...] = (
    ("--executor", "serial"),
    ("--workers", "2", *LIMIT),
    ("--workers", "3", *LIMIT),
    ("--workers", "2", *LIMIT, "--checkpoint-budget", "1"),
)
DISK_MIB = 300
"""The size of a study's own disk: three times what it needs."""


@dataclass
class Chaos:
    """One study that is broken until it is done.

    Args:
        folder: an empty folder for it.
        rng: draws faults and moments.
        stride: the most segments between two faults.
        cluster: a Ray cluster that sessions may run on, too.
    """

    folder: Path
    rng: random.Random
    stride: int = 60
    cluster: Any = None
    inflicted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.study = write_study(self.folder, STUDY)
        self.out = self.folder / "run"
        self.own_disk = False

    @property
    def kills(self) -> int:
        """How many processes were killed so far."""
        return sum(count for fault, count in self.inflicted.items() if fault.startswith("kill -9"))

    def to_its_end(self) -> None:
        """Break the study in sessions until one gets to its end."""
        while self.session():
            self.between_sessions()
        done = cli(self.study, "--out", self.out)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def disk(self) -> Iterator[None]:
        """Give the run directory a small file system of its own, where this process may mount one."""
        self.out.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(self.out)]
        self.own_disk = shutil.which("mount") is not None and not subprocess.run(mount, capture_output=True).returncode
        try:
            yield
        finally:
            if self.own_disk:
                subprocess.run(["umount", "--lazy", str(self.out)], check=True)

    def session(self) -> bool:
        """Run the study until it is broken; False when it came to its end."""
        before = rows(self.out)
        moment = before + self.rng.randrange(1, self.stride)
        executor, faults = self.draw()
        fault = self.rng.choice(faults)
        with start(self.study, "--out", self.out, *executor) as coordinator:
            workers: set[int] = set()
            try:
                if until(lambda: rows(self.out) >= moment, coordinator):
                    self.second_coordinator(coordinator)
                    workers |= set(children(coordinator.pid))
                    fault(coordinator, sorted(workers))
                    if coordinator.poll() is None:
                        # Not for ever: a worker that was stopped while it started has five minutes.
                        late = time.monotonic() + 20
                        until(
                            lambda: rows(self.out) >= moment + self.stride // 2 or time.monotonic() > late, coordinator
                        )
                        workers |= set(children(coordinator.pid))
                        self.kill_coordinator(coordinator, sorted(workers))
            finally:
                coordinator.kill()
                _, said = coordinator.communicate()
        assert until(lambda: not any(map(alive, workers))), f"orphans: {sorted(filter(alive, workers))}"
        assert until(lambda: not self.actors()), f"orphans on Ray: {self.actors()}"
        if fault == self.fill_disk and coordinator.returncode == 1:
            assert f"no space left on the disk of {self.out}" in said or "is the disk full" in said, said
            assert "Traceback" not in said, said
            self.inflicted["the disk full"] += 1
        else:
            assert coordinator.returncode in (0, -signal.SIGKILL), said
        return coordinator.returncode != 0

    def draw(self) -> tuple[tuple[str, ...], list[Callable[["subprocess.Popen[str]", list[int]], None]]]:
        """Return what a session runs on, and what may happen to it."""
        if self.cluster is not None and self.rng.random() < 0.25:
            executor = ("--executor", "ray", "--ray-address", self.cluster.address)
            return executor, [self.kill_coordinator, self.kill_node, self.kill_node, self.kill_actor]
        faults = [self.kill_coordinator, self.kill_coordinator, self.kill_worker, self.stop_worker]
        return self.rng.choice(EXECUTORS), [*faults, self.fill_disk] if self.own_disk else faults

    # --- while it runs ---------------------------------------------------------------------------------------------------

    def kill_coordinator(self, coordinator: "subprocess.Popen[str]", workers: list[int]) -> None:
        """Kill the coordinator; the workers have to leave by themselves."""
        if coordinator.poll() is None:
            coordinator.kill()
            self.inflicted["kill -9 of the coordinator"] += 1

    def kill_worker(self, coordinator: "subprocess.Popen[str]", workers: list[int]) -> None:
        """Kill a worker: another one takes its place."""
        if workers:
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(workers), signal.SIGKILL)
                self.inflicted["kill -9 of a worker"] += 1

    def stop_worker(self, coordinator: "subprocess.Popen[str]", workers: list[int]) -> None:
        """Stop a worker for ever: its time limit ends it."""
        if workers:
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(workers), signal.SIGSTOP)
                self.inflicted["SIGSTOP of a worker, past its time limit"] += 1

    def fill_disk(self, coordinator: "subprocess.Popen[str]", workers: list[int]) -> None:
        """Fill the disk: the study stops and says so."""
        ballast = self.out / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**12))
        with suppress(subprocess.TimeoutExpired):
            coordinator.wait(20)
        ballast.unlink()

    def kill_node(self, coordinator: "subprocess.Popen[str]", workers: list[int]) -> None:
        """Kill a node of the cluster; what it computed goes to the other one, and to the one that replaces it."""
        (node,) = self.cluster.worker_nodes
        self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.add_node(**NODE)
        self.inflicted["kill -9 of a Ray node"] += 1

    def kill_actor(self, coordinator: "subprocess.Popen[str]", workers: list[int]) -> None:
        """Kill a worker on the cluster."""
        if actors := self.actors():
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(actors), signal.SIGKILL)
                self.inflicted["kill -9 of a worker on Ray"] += 1

    def actors(self) -> list[int]:
        """Return the process ids of the workers on the cluster."""
        if self.cluster is None:
            return []
        raylets = [node.all_processes["raylet"][0].process.pid for node in self.cluster.list_all_nodes()]
        return sorted(pid for raylet in raylets for pid in children(raylet) if _is_actor(pid))

    def second_coordinator(self, coordinator: "subprocess.Popen[str]") -> None:
        """Start the same study a second time, now and then: it is refused, and told who is there."""
        if self.rng.random() < 0.2 and coordinator.poll() is None:
            second = cli(self.study, "--out", self.out)
            if coordinator.poll() is None:
                assert second.returncode == 2, second.stderr
                assert f"is in use by process {coordinator.pid}" in second.stderr
                self.inflicted["a second coordinator on the run directory"] += 1

    # --- between sessions ------------------------------------------------------------------------------------------------

    def between_sessions(self) -> None:
        """Damage what lies there, or nothing."""
        self.rng.choice(
            [self.lose_checkpoint, self.cut_checkpoint, self.flip_checkpoint, self.cut_store, lambda: None]
        )()

    def _checkpoint(self) -> Path | None:
        files = sorted(self.out.glob("checkpoints/*/*.safetensors"))
        return self.rng.choice(files) if files else None

    def lose_checkpoint(self) -> None:
        """Delete a checkpoint file."""
        if path := self._checkpoint():
            path.unlink()
            self.inflicted["a checkpoint deleted"] += 1

    def cut_checkpoint(self) -> None:
        """Cut a checkpoint file short."""
        if path := self._checkpoint():
            os.truncate(path, self.rng.randrange(path.stat().st_size))
            self.inflicted["a checkpoint truncated"] += 1

    def flip_checkpoint(self) -> None:
        """Flip a bit of a checkpoint file."""
        if path := self._checkpoint():
            content = bytearray(path.read_bytes())
            content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
            path.write_bytes(content)
            self.inflicted["a bit of a checkpoint flipped"] += 1

    def cut_store(self) -> None:
        """Cut the store short: the next session refuses it and names it; a copy that was kept goes on."""
        store = self.out / "store.sqlite"
        if not store.exists():
            return
        with closing(sqlite3.connect(store)) as db:  # what is in its log comes into the store itself
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        kept = self.folder / "kept"
        kept.mkdir()
        parts = sorted(self.out.glob("store.sqlite*"))
        for path in parts:
            shutil.copy2(path, kept / path.name)
        os.truncate(store, self.rng.randrange(store.stat().st_size))
        for path in parts:
            if path != store:
                path.unlink()
        refused = cli(self.study, "--out", self.out)
        assert refused.returncode == 2, (refused.returncode, refused.stderr)
        assert str(store) in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr, refused.stderr
        for path in self.out.glob("store.sqlite*"):
            path.unlink()
        for path in parts:
            shutil.copy2(kept / path.name, path)
        shutil.rmtree(kept)
        self.inflicted["the store truncated (and a copy put back)"] += 1


NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


def _is_actor(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::SegmentWorker")
    except OSError:
        return False


@contextmanager
def two_nodes() -> Iterator[Any]:
    """Start a Ray cluster of two nodes, one of which may be killed and replaced."""
    from ray.cluster_utils import Cluster

    clocks = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500}  # a lost node is seen in seconds
    head = {**NODE, "include_dashboard": False, "_system_config": clocks}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()


def inflict(
    kills: int,
    seed: int,
    folder: Path,
    undisturbed: bytes,
    told: Callable[[Chaos], None] = lambda chaos: None,
    cluster: Any = None,
) -> Counter[str]:
    """Break one study after the other until so many processes were killed; return how often each fault was inflicted.

    Args:
        kills: processes to kill, at least.
        seed: of all faults and moments.
        folder: an empty folder.
        undisturbed: the answer of an undisturbed run.
        told: called after every study.
        cluster: a Ray cluster that sessions may run on, too.
    """
    inflicted: Counter[str] = Counter()
    for number in itertools.count():
        place = folder / str(number)
        place.mkdir()
        chaos = Chaos(place, random.Random(f"{seed} {number}"), cluster=cluster)
        with chaos.disk():
            chaos.to_its_end()
            assert answer(chaos.out) == undisturbed, f"seed {seed}, study {number}: another answer"
        shutil.rmtree(place)
        inflicted += chaos.inflicted
        told(chaos)
        if sum(count for fault, count in inflicted.items() if fault.startswith("kill -9")) >= kills:
            return inflicted
    raise AssertionError


def undisturbed_answer(folder: Path) -> bytes:
    """Return the answer of a serial run that nothing happens to."""
    return answer(run(STUDY, folder / "undisturbed").run_dir)


def main() -> None:
    """Run the full chaos and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true", help="also on a Ray cluster of two nodes on this machine")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(two_nodes()) if options.ray else None
        inflicted = inflict(
            options.kills,
            options.seed,
            folder,
            undisturbed_answer(folder),
            lambda chaos: print(f"a study after {chaos.kills} kills: the same answer", file=sys.stderr, flush=True),
            cluster,
        )
    print("| fault | times |\n|---|---:|")
    print(*(f"| {fault} | {count} |" for fault, count in sorted(inflicted.items())), sep="\n")


if __name__ == "__main__":
    main()
