"""From a run directory to validated, frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from hpo.core.layout import EXECUTION, RESULTS, SEGMENTS, check_names
from hpo.errors import InputError
from hpo.report import findings_reading as findings
from hpo.report.findings import Measurement
from hpo.report.findings_reading import label, maybe
from hpo.report.reading import Node, ReportError, load_json
from hpo.report.records import (
    Arm,
    Comparison,
    Metric,
    Outcome,
    Parameter,
    Plan,
    Replicate,
    Results,
    Run,
    Sitting,
    Step,
    Task,
    Value,
)
from hpo.report.segment_rows import load_segments

SCHEMA_VERSION = 2
LEDGER = (
    "charged_intervals",
    "computed_intervals",
    "retrained_intervals",
    "optimizer_steps",
    "examples",
    "evaluations",
    "diverged",
    "exploits",
    "boundary_hits",
    "all_diverged",
    "retrains",
    "test_openings",
)


def load_run(run_dir: Path) -> Run:
    """Read `results.json`, and `segments.csv` and `execution.json` where they exist, or raise `ReportError`."""
    if not run_dir.is_dir():
        raise ReportError(f"{run_dir}: no such directory")
    try:
        check_names(run_dir, write=False)
    except InputError as error:
        raise ReportError(str(error)) from None
    if not (run_dir / RESULTS).is_file():
        raise ReportError(f"{run_dir}: no results.json here; a run writes it after its first finished replicate")
    results = _results(load_json(run_dir / RESULTS))
    segments_path, execution_path = run_dir / SEGMENTS, run_dir / EXECUTION
    segments, spreads = load_segments(segments_path, results) if segments_path.is_file() else ({}, {})
    sittings = _sittings(load_json(execution_path)) if execution_path.is_file() else ()
    return Run(results, segments, segments_path.is_file(), sittings, spreads)


def _results(root: Node) -> Results:
    version = root.at("schema_version")
    if version.value != SCHEMA_VERSION:
        raise ReportError(
            f"{root.file}: schema_version: this hpo reads version {SCHEMA_VERSION}, the file has {version.value!r}; "
            "rebuild the report with the hpo that wrote it"
        )
    task = _task(root.at("task"))
    arms = tuple(_arm(node) for node in root.at("arms").items())
    labels = [arm.label for arm in arms]
    if not arms or len(set(labels)) != len(labels):
        root.at("arms").fail("at least one arm, labels all different")
    plan = maybe(root, "comparison", lambda node: _plan(node, labels))
    seeds = tuple(node.integer() for node in root.at("planned_seeds").items())
    return Results(
        name=root.at("study", "study", "name").text(),
        task=task,
        study=dict(_plain(root.at("study"))),
        environment=dict(_plain(root.at("environment"))),
        planned_seeds=seeds,
        intervals=root.at("intervals").integer(),
        interval=root.at("interval").number(),
        arms=arms,
        replicates=tuple(_replicate(node, task, labels) for node in root.at("replicates").items()),
        comparisons=tuple(_comparison(node, labels) for node in root.at("comparisons").items()),
        metric=plan.metric if plan else task.primary,
        plan=plan,
        registration=maybe(root, "registration", findings.registration),
        retrains=root.at("retrains").integer(),
        findings=findings.findings(root, labels),
    )


def _plan(node: Node, labels: list[str]) -> Plan:
    alpha, stopping = node.at("alpha").number(), node.at("stopping").text()
    if not 0 < alpha < 1:
        node.at("alpha").fail("a level between 0 and 1")
    if stopping not in ("fixed", "anytime"):
        node.at("stopping").fail('"fixed" or "anytime"')
    return Plan(
        baseline=label(node.at("baseline"), labels),
        metric=node.at("metric").text(),
        direction=_direction(node.at("direction")),
        alpha=alpha,
        rope=findings.number(node, "rope"),
        target=findings.number(node, "target"),
        stopping="anytime" if stopping == "anytime" else "fixed",
    )


def _direction(node: Node) -> Literal["minimize", "maximize"]:
    if node.text() not in ("minimize", "maximize"):
        node.fail('"minimize" or "maximize"')
    return "minimize" if node.text() == "minimize" else "maximize"


def _plain(node: Node) -> list[tuple[str, object]]:
    return [(key, child.value) for key, child in node.fields()]


def _task(node: Node) -> Task:
    data = node.optional("data")
    metrics = tuple(_metric(child) for child in node.at("metrics").items())
    primary = node.at("primary").text()
    if primary not in [metric.name for metric in metrics]:
        node.at("primary").fail("the name of one of the metrics")
    return Task(
        name=node.at("name").text(),
        unit=node.at("unit").text(),
        primary=primary,
        metrics=metrics,
        space=tuple(_parameter(name, child) for name, child in node.at("search_space").fields()),
        data=tuple((name, child.integer()) for name, child in data.fields()) if data else (),
    )


def _metric(node: Node) -> Metric:
    complement, counts = node.optional("complement"), node.optional("counts")
    return Metric(
        name=node.at("name").text(),
        direction=_direction(node.at("direction")),
        complement=complement.text() if complement else None,
        counts=counts.text() if counts else None,
    )


def _parameter(name: str, node: Node) -> Parameter:
    kind, conditional = node.at("type").text(), node.optional("when") is not None
    if kind == "categorical":
        choices = tuple(str(c.value) for c in node.at("choices").items())
        return Parameter(name, "categorical", choices=choices, conditional=conditional)
    if kind not in ("float", "int"):
        node.at("type").fail('"float", "int" or "categorical"')
    log = node.optional("log")
    parameter = Parameter(
        name,
        "float" if kind == "float" else "int",
        node.at("low").number(),
        node.at("high").number(),
        log.flag() if log else False,
        conditional=conditional,
    )
    if parameter.low > parameter.high or (parameter.log and parameter.low <= 0):
        node.fail("low <= high, and low > 0 on a log scale")
    return parameter


def _arm(node: Node) -> Arm:
    stream, options = node.optional("stream"), node.optional("options")
    return Arm(
        label=node.at("label").text(),
        optimizer=node.at("optimizer").text(),
        options=dict(_plain(options)) if options else {},
        stream=stream.integer() if stream else 0,
        derived_from=maybe(node, "derived_from", Node.text),
        replay=maybe(node, "replay", Node.text),
        without=maybe(node, "without", lambda names: tuple(name.text() for name in names.items())) or (),
    )


def _replicate(node: Node, task: Task, labels: list[str]) -> Replicate:
    table = node.at("arms")
    outcomes = {}
    for name in labels:
        child = table.optional(name)
        if child is not None:
            outcomes[name] = _outcome(child, task)
    return Replicate(node.at("seed").integer(), outcomes)


def _outcome(node: Node, task: Task) -> Outcome:
    selected, diverged = node.optional("selected"), node.optional("test_diverged")
    ledger = {name: child.integer() for name in LEDGER if (child := node.optional(name)) is not None}
    kinds = {parameter.name: parameter for parameter in task.space}
    return Outcome(
        validation=_measurements(node.at("validation")),
        test=_measurements(node.at("test")),
        test_diverged=diverged.flag() if diverged else False,
        selected=(selected.at("member").integer(), selected.at("interval").integer()) if selected else None,
        schedule=tuple(_step(child, kinds) for child in node.at("schedule").items()),
        ledger=ledger,
        incumbent=maybe(node, "incumbent", lambda curve: tuple(v.measurement() for v in curve.items())) or (),
    )


def _measurements(node: Node) -> dict[str, Measurement]:
    return {name: child.measurement() for name, child in node.fields()}


def _step(node: Node, kinds: Mapping[str, Parameter]) -> Step:
    hparams: dict[str, Value] = {}
    for name, child in node.at("hparams").fields():
        categorical = name not in kinds or kinds[name].kind == "categorical"
        value: Value = None if child.value is None else str(child.value) if categorical else child.number()
        hparams[name] = value
    return Step(node.at("member").integer(), node.at("start").integer(), node.at("stop").integer(), hparams)


def _comparison(node: Node, labels: list[str]) -> Comparison:
    def number(name: str) -> Measurement:
        return findings.number(node, name)

    verdict = node.at("verdict")
    return Comparison(
        baseline=label(node.at("baseline"), labels),
        arm=label(node.at("arm"), labels),
        metric=node.at("metric").text(),
        n=node.at("n").integer(),
        differences=tuple(child.measurement() for child in node.at("differences").items()),
        mean=number("mean"),
        variance=number("variance"),
        p_sign_flip=number("p_sign_flip"),
        p_holm=number("p_holm"),
        ci_low=number("ci_low"),
        ci_high=number("ci_high"),
        p_t=number("p_t"),
        verdict=verdict.at("kind").text(),
        words=verdict.at("words").text(),
        d_z=number("d_z"),
        level=number("level"),
        p_tost_holm=number("p_tost_holm"),
        numbers=maybe(node, "numbers", findings.numbers),
        power=maybe(node, "power", findings.power),
        images=maybe(node, "images", findings.images),
        incumbent=maybe(node, "incumbent", lambda child: findings.incumbent(child, verdict.at("kind").text())),
        budget=maybe(node, "budget_equivalence", lambda child: findings.budget_equivalence(child, labels)),
        anytime=maybe(node, "anytime", findings.anytime),
    )


def _sittings(root: Node) -> tuple[Sitting, ...]:
    node = root.optional("sittings")
    if node is None:
        return ()
    return tuple(Sitting(tuple((key, str(value)) for key, value in _plain(item))) for item in node.items())
