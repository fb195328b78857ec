"""What a study costs as it grows: time and memory per segment, the resume of a finished study, and its report.

    python tests/benchmarks/growth.py --population 100 --intervals 1000
    python tests/benchmarks/growth.py --population 10000 --intervals 100 --optimizer pbt
    python tests/benchmarks/growth.py --population 100 --intervals 50 --executor process --parts run

Training costs nothing (the `toy` task), and everything runs in one process, so that what is measured is the engine. With another
executor the time on a core is the coordinator's alone: what a segment costs it, messages to the workers included. Each part
runs in a process of its own: its peak memory is its own. On a machine that does other things, too, the time on a core is what to
look at.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARTS = ("run", "resume", "report")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", type=int, default=10)
    parser.add_argument("--intervals", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=1)
    parser.add_argument(
        "--optimizer", default="random_search", help="random_search, pbt, asha, ... (default: random_search)"
    )
    parser.add_argument("--interval-steps", type=int, default=1, help="gradient steps per interval (default: 1)")
    parser.add_argument("--executor", default="serial", choices=["serial", "process", "ray"])
    parser.add_argument("--out", type=Path, help="keep the run directory here (default: a folder that is removed)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process
    options = parser.parse_args()
    if options.here:
        (part,) = options.parts
        print(json.dumps(measured(part, options)))
        return
    segments = options.population * options.intervals * options.replicates
    print(
        f"{options.optimizer}, population {options.population} x {options.intervals} intervals x {options.replicates}"
        f" replicates = {segments:,} segments",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "run"
        for part in options.parts:
            found = in_own_process(part, options, out)
            print(
                f"{part:7s} {found['seconds']:9.2f} s, {found['cpu_seconds']:9.2f} s of it on a core:"
                f" {1e3 * found['cpu_seconds'] / segments:8.4f} ms per segment"
                f"  peak {found['peak_mib']:7.0f} MiB, {1024 * found['grown_mib'] / segments:7.3f} KiB per segment"
                + (f"  computed {found['computed']:,}" if "computed" in found else ""),
                flush=True,
            )
        sizes = {file.name: file.stat().st_size for file in out.iterdir() if file.is_file()}
        print("  ".join(f"{name} {size / 2**20:.2f} MiB" for name, size in sorted(sizes.items()) if size > 2**10))


def in_own_process(part: str, options: argparse.Namespace, out: Path) -> dict:
    command = [sys.executable, __file__, "--here", "--parts", part, "--out", str(out), "--optimizer", options.optimizer]
    for name in ("population", "intervals", "replicates", "interval_steps", "executor"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{")))


def measured(part: str, options: argparse.Namespace) -> dict:
    from hpo.engine.session import run_study
    from hpo.report.build import build_report
    from hpo.study.file import parse_study

    chosen = {"perturbation_interval": options.interval_steps} if options.optimizer == "pbt" else {}
    spec = parse_study(
        {
            "study": {
                "name": "growth",
                "population_size": options.population,
                "budget": options.intervals * options.interval_steps,
                "interval": options.interval_steps,
                "replicates": options.replicates,
            },
            "task": {"name": "toy"},
            "arms": [{"label": "arm", "optimizer": options.optimizer, **chosen}],
        }
    )
    before, start, cpu = peak_mib(), time.perf_counter(), time.process_time()
    found = {}
    if part == "report":
        build_report(options.out)
    else:
        run_study(spec, out=options.out, executor=options.executor, report=False)
        found["computed"] = json.loads((options.out / "execution.json").read_bytes())["sessions"][-1][
            "segments_computed"
        ]
    return {
        **found,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": peak_mib(),
        "grown_mib": peak_mib() - before,
    }


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
