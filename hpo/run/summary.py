"""The summary at the end of a run."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from hpo.core.run_files import MODELS, RESULTS, model_name
from hpo.engine.study_result import StudyResult
from hpo.engine.timing import clock
from hpo.report.summary import verdicts


def print_summary(result: StudyResult, console: Console, seconds: float) -> None:
    """Print the verdicts, the best hyperparameters as TOML, the test values, and where the model and the report are.

    Args:
        result: the result of the study.
        console: shows every seed's values if it is wide enough, and otherwise the arms' means.
        seconds: the time that the study took.
    """
    results = result.document
    for title, words in verdicts(results):
        console.print(Text.assemble((f"{title}.", "bold"), " ", words))
    if result.best is not None:
        # Not wrapped, so that it can be copied.
        console.print()
        console.print(Text(result.best.to_toml(result.run_dir)), soft_wrap=True)
    elif results.replicates:
        console.print(Text("no best hyperparameters: the answer of every search diverged"))
    values = {
        label: {str(replicate.seed): replicate.arms[label].test.get(results.metric) for replicate in results.replicates}
        for label in results.labels
    }
    if len(results.labels) * len(results.replicates) > 1 or (results.replicates and result.best is None):
        console.print(_values(f"{results.scored} {results.metric}", values, console))
    console.print(Text(f"{'stopped after' if result.out_of_time else 'done in'} {clock(seconds)}"))
    if (best := result.best) is not None and best.final:
        if (model := result.run_dir / MODELS / model_name(best.arm, best.seed)).is_file():
            console.print(Text(f"model: {model}"), soft_wrap=True)
        if (command := best.replay_command(result.run_dir)) is not None:
            console.print(Text(f"train it again: {command}"), soft_wrap=True)
    where = result.run_dir / RESULTS if result.report is None else result.report
    console.print(Text(f"{'results' if result.report is None else 'report'}: {where}"), soft_wrap=True)


def _values(title: str, values: dict[str, dict[str, float | None]], console: Console) -> Table:
    """Return the largest table that fits: seeds as rows, arms as rows, or only means."""
    seeds = list(next(iter(values.values()), {}))
    tables = [
        _table(title, "seed", list(values), {seed: [_shown(of[seed]) for of in values.values()] for seed in seeds}),
        _table(title, "arm", seeds, {label: [_shown(value) for value in of.values()] for label, of in values.items()}),
    ]
    unlimited = console.options.update(width=10**6)
    for table in tables:
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            return table
    means = {label: [_mean(list(of.values()))] for label, of in values.items()}
    return _table(title, "arm", [f"mean of {len(seeds)} seeds"], means)


def _table(title: str, first: str, columns: list[str], rows: dict[str, list[str]]) -> Table:
    table = Table(first, title=Text(title, style="table.title"), title_justify="left", box=None)
    table.columns[0].no_wrap = True
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(Text(name), *cells)
    return table


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return _shown(sum(known) / len(known) if len(known) == len(values) and known else None)


def _shown(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.4g}"
