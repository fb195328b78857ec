"""A study's results, journals and checkpoints; `hpo store` inspects and cleans them up.

A run directory has its own store, or shares one with other studies. A shared store then holds the segments and tests, which any
study would compute under the same key; the journals stay in the run directory.
"""

from hpo.store.claims import Claim
from hpo.store.records import Stored, TestResult
from hpo.store.schema import SCHEMA_VERSION
from hpo.store.store import OUT_ADVICE, Store

__all__ = ["OUT_ADVICE", "SCHEMA_VERSION", "Claim", "Store", "Stored", "TestResult"]
