"""The contract of an optimizer, as checks for authors of optimizers. They need no test framework.

>>> from hpo.optimizers.random_search import RandomSearch
>>> check_optimizer(RandomSearch(), processes=False)

| name | purpose |
|---|---|
| `check_optimizer` | run everything below for one optimizer, on each of `SPACES` and with each of `SIZES` |
| `CHECKS` | the checks of a search in memory; each takes the options, a space and the population size |
| `accepted` | the population sizes that the options accept |
| `members` | one population size that the options accept, for a check that needs only one |
| `check_processes` | the same answer in another process with another hash seed |
| `check_workers` | the same answer of a real study in this process and in two workers |
| `drive` | run a search in memory and check the contract at every step |
"""

from hpo.testing.checks import CHECKS, accepted, check_optimizer
from hpo.testing.driving import Broken, Run, drive
from hpo.testing.problems import LARGER, SIZES, SPACES, members, problem
from hpo.testing.processes import check_processes, check_workers

__all__ = [
    "CHECKS",
    "LARGER",
    "SIZES",
    "SPACES",
    "Broken",
    "Run",
    "accepted",
    "check_optimizer",
    "check_processes",
    "check_workers",
    "drive",
    "members",
    "problem",
]
