"""`python -m hpo.calibrate`: check what the statistics promise."""
