"""`python -m hpo.run`: run a study."""
