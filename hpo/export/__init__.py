"""Hands a run directory to other tools: to Optuna, to data frames, and to the list of references of a paper."""
