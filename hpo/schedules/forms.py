"""The best answer as text to copy: TOML, JSON, and Python that runs."""

import json
from collections.abc import Iterator
from fractions import Fraction

from hpo.core.errors import OptionError
from hpo.schedules.best import Best, escaped
from hpo.schedules.schedule import Schedule

MOST_STEPS = 200
"""Longer schedules are exported by a command, not copied."""


def forms(best: Best) -> dict[str, str]:
    """Return the hyperparameters, or the schedule if they change, as text by language.

    The TOML of a schedule is a schedule file; `hpo.Schedule.from_document` reads the same from JSON. The Python defines `hparams`
    or `schedule`. A schedule of more than 200 steps is TOML alone: its first values, and the command that exports it.
    """
    schedule = best.schedule
    if not best.changes:
        return {"TOML": best.to_toml(), "JSON": _json(dict(best.hparams)), "Python": _python_of_hparams(best)}
    if len(schedule.steps()) > MOST_STEPS:
        return {"TOML": best.to_toml(".")}
    comments = "".join(f"{line}\n" for line in best.origin())
    return {
        "Python": comments + "\n".join(_python_of_schedule(schedule)) + "\n",
        "TOML": comments + schedule.to_toml(),
        "JSON": _json(schedule.to_document()),
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _python_of_hparams(best: Best) -> str:
    entries = (f"    {name!r}: {value!r}," for name, value in best.hparams.items())
    return "\n".join([*best.origin(), "hparams = {", *entries, "}", ""])


def _python_of_schedule(schedule: Schedule) -> Iterator[str]:
    steps = [(start, _length(stop - start), dict(hparams)) for start, stop, hparams in schedule.steps()]
    transforms = schedule.weight_transforms()
    if any(length.startswith("Fraction") for _, length, _ in steps):
        yield from ("from fractions import Fraction", "")
    yield from ("import hpo", "", "schedule = hpo.Schedule.of(", "    [")
    for start, length, hparams in steps:
        transform = f", hpo.{transforms[start]!r}" if start in transforms else ""
        yield f"        ({length}, {hparams!r}{transform}),"
    yield from ("    ],", f"    unit={schedule.unit!r},", ")")
    try:
        schedule.numbers("lr")
    except OptionError:
        if transforms:
            yield f"# at {escaped(schedule.transformed_at)}, the weights change: in PyTorch, call hpo.shrink_perturb there"
        return
    yield from ("", "", f"def scheduler(optimizer, steps_per_unit{', model, build_model' if transforms else ''}):")
    yield '    """Follow the schedule in a PyTorch loop: call `step()` after every training step.'
    yield ""
    yield "    `steps_per_unit` is the number of these steps in one unit of the schedule: for epochs, len(loader)."
    if not transforms:
        yield '    """'
        yield "    return hpo.torch_scheduler(optimizer, schedule, steps_per_unit=steps_per_unit)"
        return
    yield "    `build_model()` returns a new model, with which the weights of `model` are perturbed."
    yield '    """'
    yield ""
    yield "    def transform(change):"
    yield "        hpo.shrink_perturb(model, build_model(), change.shrink, change.perturb)"
    yield "        if change.reset_optimizer:"
    yield "            optimizer.state.clear()"
    yield ""
    yield "    return hpo.torch_scheduler(optimizer, schedule, steps_per_unit=steps_per_unit, transform=transform)"


def _length(length: Fraction) -> str:
    short = float(length)
    return f"{short:g}" if Fraction(f"{short:g}") == length else repr(length)
