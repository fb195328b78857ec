"""`--dry-run`: the plan of a study and its expected time, from timing one segment."""

import sys

from rich.console import Console
from rich.table import Table

from hpo.engine.prepare import Prepared
from hpo.engine.registration import cannot_decide
from hpo.engine.timing import duration, replicate_seconds, time_segment


def print_plan(study: Prepared) -> None:
    """Print the number of segments per arm and the expected time. Nothing is kept, and no Ray cluster is started."""
    spec, task, chosen = study.spec, study.bound.task, study.seeds
    workers = study.execution.expected_workers
    seconds = time_segment(spec, task)
    budget = spec.population_size * spec.intervals
    table = Table("arm", "optimizer", "search segments", "retraining segments", "tests", box=None)
    for arm in spec.arms:
        retrains = spec.retrains_of(arm)
        each = f"{spec.intervals}" if retrains == 1 else f"{retrains} × {spec.intervals}"
        own = f"{len(chosen)} × {spec.population_size} × {spec.intervals} = {len(chosen) * budget}"
        table.add_row(
            arm.label,
            arm.optimizer_name if arm.replay is None else arm.replay,
            own if arm.derived_from is None else f"those of {arm.derived_from}",
            f"{len(chosen)} × {each} = {len(chosen) * retrains * spec.intervals}" if retrains else "0",
            str(len(chosen) * spec.tests_of(arm)),
        )
    total = len(chosen) * replicate_seconds(spec, task, seconds) / workers
    console = Console(soft_wrap=not sys.stdout.isatty())
    some = f"{workers} worker{'s' * (workers != 1)}"
    console.print(f"{spec.name}: {len(chosen)} of {len(spec.seeds)} replicates, {some}", highlight=False)
    if hopeless := cannot_decide(spec):
        console.print(f"warning: {hopeless}", highlight=False, markup=False)
    console.print(table, highlight=False)
    console.print(
        f"one segment takes {seconds:.3g} s here: at most {duration(total)} in total (segments that arms share run once)",
        highlight=False,
    )
