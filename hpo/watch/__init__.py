"""`hpo watch`: a page in the browser that follows a running study. It reads the run directory, and writes nothing."""
