"""Labels as they are shown: printable, short, and still all different."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.report.numbers import clean

_NAMED = 6  # names that a sentence holds; a longer list is in a table


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


def listed(names: Sequence[str], most: int = _NAMED, separator: str = ", ") -> str:
    """Return the names as a list in a sentence, cut where it would be too long to read."""
    more = len(names) - most
    return separator.join(names[:most]) + (f" and {more} more" if more > 0 else "")
