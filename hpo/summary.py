"""The end of a run, on a console."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hpo.study import StudyResult


def summary(result: StudyResult) -> RenderableType:
    """Return the test metrics of every pair, the verdicts, and where to read on."""
    results = result.results
    comparison = results["study"].get("comparison")
    metric = comparison["metric"] if comparison else results["task"]["primary"]
    labels = [arm["label"] for arm in results["arms"]]
    table = Table("seed", title=f"test {metric}", title_justify="left", box=None)
    for label in labels:
        table.add_column(Text(label), justify="right")
    for replicate in results["replicates"]:
        values = [replicate["arms"][label]["test"].get(metric) for label in labels]
        table.add_row(str(replicate["seed"]), *("diverged" if value is None else f"{value:.4g}" for value in values))
    verdicts = [Text(f"{found['arm']}: {found['verdict']['words']}") for found in results["comparisons"]]
    report = result.run_dir / "report.html"
    where = Text(f"report: {report}" if report.exists() else f"results: {result.run_dir / 'results.json'}")
    return Group(table, *verdicts, where)
