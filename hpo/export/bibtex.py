"""The papers behind what a study used, as BibTeX. Which paper belongs to what is stated in `references.bib`, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hpo.results.document import Results

_USED_BY = re.compile(r"\n +usedby += \{([^}]*)\},")
_NESTED = ("selection", "perturbation", "sampler", "pruner")
"""Kinds of plug-ins that occur in an optimizer's options. No two of them share a name that has a paper."""


@dataclass(frozen=True)
class Reference:
    """An entry of `references.bib`.

    Args:
        entry: in BibTeX.
        used_by: what is behind it: `kind:name`, `kind:name.option` if the option has to be set, or `kind:name.option=value`.
    """

    entry: str
    used_by: frozenset[str]


@cache
def references() -> tuple[Reference, ...]:
    """Return all entries, in alphabetical order."""
    _, *entries = re.split(r"\n\n(?=@)", files(__package__).joinpath("references.bib").read_text("utf-8").rstrip())
    return tuple(
        Reference(_USED_BY.sub("", entry), frozenset(" ".join(_USED_BY.findall(entry)).split())) for entry in entries
    )


def to_bibtex(results: Results) -> str:
    """Return the papers behind a study's optimizers, statistics, data and libraries, each with a comment on what used it."""
    used = frozenset(_used(results))
    found = [(reference, sorted(reference.used_by & used)) for reference in references()]
    known = frozenset().union(*(reference.used_by for reference in references()))
    unknown = sorted({arm.optimizer for arm in results.arms if f"optimizer:{arm.optimizer}" not in known})
    head = [f"% The papers behind the study {results.name}"]
    head += [f"% not known: the paper behind the optimizer {_comment(name)}" for name in unknown]
    return (
        "\n\n".join(
            ["\n".join(head)]
            + [f"% {', '.join(use.replace(':', ' ') for use in uses)}\n{each.entry}" for each, uses in found if uses]
        )
        + "\n"
    )


def _used(results: Results) -> Iterator[str]:
    for arm in results.arms:
        yield from _uses(f"optimizer:{arm.optimizer}", arm.options)
        yield from _nested(arm.options)
    yield f"task:{results.task.name}"
    libraries = {*results.environment.versions} - {"torch"} | {*results.environment.numerics}
    yield from (f"library:{name}" for name in libraries)
    yield from (f"statistic:{name}" for name in _statistics(results))


def _nested(options: object) -> Iterator[str]:
    """Yield the plug-ins in an optimizer's options, at any depth."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            if isinstance(value, str) and key in _NESTED:
                yield f"{key}:{value}"
            elif isinstance(value, Mapping) and isinstance(value.get("name"), str):
                yield from (use for kind in _NESTED for use in _uses(f"{kind}:{value['name']}", value))
            yield from _nested(value)
    elif isinstance(options, list):
        # A chain's steps.
        yield from _nested(dict(enumerate(options)))


def _uses(plugin: str, options: Mapping[str, object]) -> Iterator[str]:
    yield plugin
    for name, value in options.items():
        if value:
            yield f"{plugin}.{name}"
            yield f"{plugin}.{name}={value}"


def _statistics(results: Results) -> Iterator[str]:
    """Yield what results.json has of statistics."""
    compared = [c.numbers for c in results.comparisons if c.numbers is not None]
    found = {
        "sign_flip": compared,
        "sign_flip_sampled": [numbers for numbers in compared if not numbers.exact],
        "hodges_lehmann": compared,
        "holm": compared[1:] or results.several,
        "equivalence": [numbers for numbers in compared if numbers.equivalence is not None],
        "crossed": [c for c in results.comparisons if c.images is not None],
        "incumbent_band": [c for c in results.comparisons if c.incumbent is not None],
        "budget_equivalence": [c for c in results.comparisons if c.budget_equivalence is not None],
        "anytime": [c for c in results.comparisons if c.anytime is not None],
        "friedman": results.several,
        "nested": [of for of in (results.retraining or {}).values() if of is not None],
        "time_to_target": results.time_to_target,
    }
    yield from (name for name, evidence in found.items() if evidence)


def _comment(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
