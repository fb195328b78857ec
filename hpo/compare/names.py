"""Labels as they are shown: printable, short, and still all different."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpo.core.errors import did_you_mean
from hpo.report.numbers import clean


def display_names(labels: Sequence[str]) -> dict[str, str]:
    """Return a name to show for each label; where two would look the same, the later ones are numbered."""
    names: dict[str, str] = {}
    used: set[str] = set()
    for label in labels:
        name = base = clean(label)
        number = 2
        while name in used:
            name = f"{base} ({number})"
            number += 1
        used.add(name)
        names[label] = name
    return names


def chosen(given: str | None, names: Iterable[str]) -> str | None:
    """Return the name that was meant: the one given, or the only one that differs from it in case and outer spaces alone."""
    if given is None:
        return None
    alike = [name for name in names if name.strip().casefold() == given.strip().casefold()]
    return given if given in alike else alike[0] if len(alike) == 1 else None


def hint(given: str, names: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the nearest known one in brackets, or nothing."""
    near = did_you_mean(given, names)
    return f" ({near})" if near else ""
