"""What a study's numbers say of its arms: from the plain records of results.json to its comparisons.

Everything here is computed from results.json alone, so that anyone can compute it again. The records are read in one room
(`records`); the pairs and their verdicts (`pairs`), where a difference comes from (`sources`) and how it goes along the budget
(`budget`) have rooms of their own; `document` puts together what results.json holds.
"""

from hpo.comparisons.document import compared, decided_after

__all__ = ["compared", "decided_after"]
