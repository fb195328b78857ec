"""The best hyperparameters at the top of the report, as text to be copied."""

from __future__ import annotations

import re

from markupsafe import Markup

from hpo.results.document import Results
from hpo.schedules.best import best_of


def best_toml(results: Results) -> str | None:
    """The best hyperparameters as TOML; None where there are none. Commands in it are for the report's own folder."""
    best = best_of(results)
    return None if best is None else best.to_toml(".")


def fenced(text: str) -> Markup:
    """A block of code in Markdown, whatever the text holds."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup(f"{fence}toml\n{text}{fence}")
