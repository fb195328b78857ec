"""`hpo calibrate`: check the false-positive rates and coverage of the whole pipeline."""
