"""The numbers of a paired comparison, as pure functions on arrays: nothing here knows of studies, stores or files."""

from hpo.statistics.decision import Verdict, VerdictKind, decide, holm_adjusted
from hpo.statistics.paired import PairedComparison, compare_paired, sign_flip_p, smallest_p
from hpo.statistics.power import seeds_needed

__all__ = [
    "PairedComparison",
    "Verdict",
    "VerdictKind",
    "compare_paired",
    "decide",
    "holm_adjusted",
    "seeds_needed",
    "sign_flip_p",
    "smallest_p",
]
