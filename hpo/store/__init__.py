"""Where a study's results, journals and checkpoints are kept; `python -m hpo.store` looks after them.

A run directory has a store of its own, or shares one with others: then what any study would compute under the same key lies in
the shared store, and what belongs to one study alone stays in its run directory.
"""

from hpo.store.claims import Claim
from hpo.store.records import Stored, TestResult
from hpo.store.schema import SCHEMA_VERSION
from hpo.store.store import OUT_ADVICE, Store

__all__ = ["OUT_ADVICE", "SCHEMA_VERSION", "Claim", "Store", "Stored", "TestResult"]
