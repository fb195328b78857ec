"""Sentences, which stand in templates: Python gives numbers and kinds, and gets text."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined

from hpo.report.numbers import clean, listed, p_value, plain, printable, significant


class Phrases:
    """The phrases of a package: the macros of `templates/phrases.j2`, by name.

    They give plain text, with one space where the template has any number of spaces and line breaks. It is for the page, which
    escapes it, or for a console.
    """

    def __init__(self, package: str) -> None:
        environment = Environment(
            loader=PackageLoader(package), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {
            function.__name__: function for function in (clean, listed, p_value, plain, printable, significant)
        }
        self._macros = environment.get_template("phrases.j2").module

    def __call__(self, name: str, /, **values: object) -> str:
        """Return one phrase."""
        return _in_one_line(self._text(name, values))

    def items(self, name: str, /, **values: object) -> tuple[str, ...]:
        """Return a list of phrases: each begins with "- " on a line of its own."""
        first, *items = f"\n{self._text(name, values)}".split("\n- ")
        assert not first.strip(), first
        return tuple(map(_in_one_line, items))

    def _text(self, name: str, values: dict[str, object]) -> str:
        return str(getattr(self._macros, name)(**values))


def _in_one_line(text: str) -> str:
    return re.sub("[ \n]+", " ", text).strip(" ")


say = Phrases("hpo.report")
