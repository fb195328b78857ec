"""What `hpo watch` and a tracker cost a study, and how the page copes with a large one.

    python tests/benchmarks/watch.py cost --rounds 5
    python tests/benchmarks/watch.py cost --of tensorboard --study studies/mnist_quick.toml
    python tests/benchmarks/watch.py size --segments 100000

`cost` runs a study alternately alone and watched by a client that asks as often as the page does, or tracked. It prints the
ratio of the wall-clock times, which other work on the machine distorts, and the CPU seconds of the server, which it does not.
`size` makes a run directory with so many segments, to which more are added, and prints how large the answers are, how long they
take, and the longest tasks of the page in Chromium.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))


cpu_seconds: list[float] = []
"""Of the servers that have ended."""


@contextmanager
def watching(run_dir: Path) -> Iterator[str]:
    """Serve a run directory, and yield the address."""
    command = [sys.executable, "-m", "hpo.watch", str(run_dir), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0]  # type: ignore[index]
    finally:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        cpu_seconds.append(sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK"))
        process.terminate()
        process.wait()


def get(address: str) -> bytes:
    """Return what an address answers."""
    with urllib.request.urlopen(address) as answer:
        return bytes(answer.read())


# --- cost ----------------------------------------------------------------------------------------------------------------


def run(study: Path, out: Path, workers: int, *options: str) -> float:
    """Run a study and return the seconds that it took."""
    command = [sys.executable, "-m", "hpo.run", str(study), "--out", str(out), "--workers", str(workers)]
    before = time.perf_counter()
    subprocess.run([*command, "--no-report", "--quiet", *options], check=True, cwd=ROOT)
    return time.perf_counter() - before


def run_watched(study: Path, out: Path, workers: int) -> float:
    """Run a study while it is watched, from before its first segment to its end."""
    shutil.rmtree(out, ignore_errors=True)
    done = threading.Event()

    def ask() -> None:
        while not (out / "results.json").exists() and not done.is_set():
            time.sleep(0.05)
        with watching(out) as address:
            while not done.wait(1.0):
                state, study = json.loads(get(address + "state")), json.loads(get(address + "study"))
                for one in state["charged"][-1:]:
                    get(f"{address}rows?seed={one['seed']}&arm={study['study']['arms'][-1]}")

    client = threading.Thread(target=ask)
    client.start()
    try:
        return run(study, out, workers)
    finally:
        done.set()
        client.join()


def run_tracked(study: Path, out: Path, workers: int) -> float:
    """Run a study that is written to TensorBoard."""
    return run(study, out, workers, "--track", f"tensorboard:{out.parent / 'tensorboard'}")


def cost(options: argparse.Namespace) -> None:
    """Print the ratio of the times with and without `hpo watch` or a tracker."""
    beside = run_watched if options.of == "watch" else run_tracked
    ratios, alone, watched = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            out = Path(folder) / str(number)
            order = [(run, alone), (beside, watched)]
            for measure, times in order if number % 2 else order[::-1]:
                times.append(measure(options.study, out / measure.__name__, options.workers))
            ratios.append(watched[-1] / alone[-1])
            load = os.getloadavg()[0]
            print(
                f"alone {alone[-1]:.2f} s, with {options.of} {watched[-1]:.2f} s, ratio {ratios[-1]:.3f}, load {load:.1f}",
                flush=True,
            )
    print(f"median ratio {median(ratios):.3f}; ratio of the fastest {min(watched) / min(alone):.3f}")
    if cpu_seconds:
        print(
            f"CPU of the server: {median(cpu_seconds):.2f} s, in a study of {min(watched):.1f} s on {options.workers} workers"
        )


# --- size ----------------------------------------------------------------------------------------------------------------


def large(out: Path, segments: int, seeds: int, arms: int) -> Iterator[str]:
    """Make a run directory with half of the segments, and yield the rows of the others."""
    import numpy as np
    from helpers import PBT, Interrupts, document
    from helpers import run as run_here

    intervals = 20
    members = segments // (seeds * arms * intervals)
    labels = [f"pbt {number}" for number in range(arms)]
    study = document(
        arms=tuple(PBT | {"label": label} for label in labels),
        replicates=seeds,
        population_size=members,
        budget=intervals,
    )
    with suppress(KeyboardInterrupt):
        run_here(study, out, observer=Interrupts(1))
    random = np.random.default_rng(0)
    path = out / "segments.csv"
    rows = [
        f"{seed},{label},{member},{interval},{member if interval and member % 5 else ('' if not interval else 0)},,0,"
        f"{random.random()},{random.random()},{-1 / (interval + 1 + random.random())},1.0,1.0\n"
        for seed in range(seeds)
        for interval in range(intervals)
        for label in labels
        for member in range(members)
    ]
    header = path.read_text().splitlines()[0]
    path.write_text(header + "\n" + "".join(rows[: segments // 2]))
    yield from rows[segments // 2 :]


LONGEST = """() => { window.tasks = []; new PerformanceObserver(list => list.getEntries().forEach(one => tasks.push(one.duration)))
  .observe({entryTypes: ["longtask"]}); }"""


def size(options: argparse.Namespace) -> None:
    """Print how large a study's answers are, and how long they and the page take."""
    from playwright.sync_api import sync_playwright

    for seeds, arms in ((1, 1), (50, 10)):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            more = list(large(out, options.segments, seeds, arms))
            print(f"{options.segments:,} segments, {seeds} seeds, {arms} arms")
            with (out / "segments.csv").open("a") as file:
                file.writelines(more[:-2000])
            with watching(out) as address:
                before = time.perf_counter()
                while json.loads(get(address + "state"))["reading"]:
                    pass
                print(f"  read in {time.perf_counter() - before:.2f} s")
                query = f"rows?seed={seeds - 1}&arm=pbt%200"
                for name in ("state", "study", query):
                    times = []
                    for _ in range(5):
                        before = time.perf_counter()
                        answer = get(address + name)
                        times.append(time.perf_counter() - before)
                    shown = name.partition("?")[0]
                    print(
                        f"  {shown}: {len(answer) / 1024:.0f} KiB, first {times[0]:.3f} s, then {median(times):.3f} s"
                    )
                with sync_playwright() as driver:
                    browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                    page = browser.new_page(viewport={"width": 1280, "height": 900})
                    page.goto(address)
                    page.wait_for_selector("#lineage .scatterlayer", timeout=60_000)
                    page.wait_for_timeout(3000)
                    page.evaluate(LONGEST)
                    for at in range(0, 2000, 20):
                        with (out / "segments.csv").open("a") as file:
                            file.writelines(more[len(more) - 2000 + at :][:20])
                        page.wait_for_timeout(150)
                    tasks = page.evaluate("() => tasks")
                    print(
                        f"  longest tasks of the page: {sorted(map(round, tasks))[-5:]} ms, of {len(tasks)} above 50 ms"
                    )
                    browser.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("cost")
    first.add_argument("--study", type=Path, default=ROOT / "studies/digits_quick.toml")
    first.add_argument("--rounds", type=int, default=5)
    first.add_argument("--workers", type=int, default=2)
    first.add_argument("--of", choices=["watch", "tensorboard"], default="watch")
    first.set_defaults(measure=cost)
    second = commands.add_parser("size")
    second.add_argument("--segments", type=int, default=100_000)
    second.set_defaults(measure=size)
    options = parser.parse_args(arguments)
    options.measure(options)


if __name__ == "__main__":
    main()
