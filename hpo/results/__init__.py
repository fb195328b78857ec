"""results.json: what it holds, and what its numbers say of the arms.

`document` is the schema of the file. Everything else here computes its statistics from the replicates alone, so that anyone can
compute them again: `arms` puts the replicates side by side, `pairs` compares every arm with the baseline, `sources` asks where a
difference comes from, `budget` how it goes along the budget, and `comparisons` puts all of it together.
"""
