"""The sentences of a comparison, from `templates/phrases.j2`."""

from hpo.report.phrases import Phrases

say = Phrases("hpo.compare")
