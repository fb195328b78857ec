"""What every optimizer must hold to, as checks without a test framework: for those who write one.

>>> from hpo.optimizers.random_search import RandomSearch
>>> check_optimizer(RandomSearch(), processes=False)

| what | holds |
|---|---|
| `check_optimizer` | everything below, for one optimizer, on each of `SPACES` and with each of `SIZES` |
| `CHECKS` | the checks of a search in memory: each takes the options, a space and the population's size |
| `accepted` | the sizes that the options do not refuse |
| `check_processes` | the same answer in another process with another hash seed |
| `check_workers` | the same answer of a real study in this process and in two workers |
| `drive` | a search in memory, held to the contract at every step |
"""

from hpo.testing.checks import CHECKS, SIZES, accepted, check_optimizer
from hpo.testing.driving import Broken, Run, drive
from hpo.testing.problems import SPACES, problem
from hpo.testing.processes import check_processes, check_workers

__all__ = [
    "CHECKS",
    "SIZES",
    "SPACES",
    "Broken",
    "Run",
    "accepted",
    "check_optimizer",
    "check_processes",
    "check_workers",
    "drive",
    "problem",
]
