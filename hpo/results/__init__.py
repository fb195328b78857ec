"""results.json: its schema, and the statistics in it.

`document` is the schema of the file. Everything else here computes its statistics from the replicates alone, so that anyone can
compute them again: `arms` puts the replicates side by side, `pairs` compares every arm with the baseline, `sources` splits a
difference by its causes, `budget` follows it along the budget, and `comparisons` combines all of these.
"""
