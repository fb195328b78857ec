"""The command `hpo greed`: how greedy arms are, and what greed costs, on tasks that know their greedy choice."""
