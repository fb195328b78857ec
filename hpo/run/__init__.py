"""`hpo run`: run a study."""
