"""`hpo plan`: how many seeds a comparison needs."""
