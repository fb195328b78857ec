"""`hpo compare`: the same arms on several tasks, from finished studies, CSV files, or searches of Optuna and Ray Tune.

In this order: the inputs (`inputs`, `runs`, `table`, `searches`, `naming`), pairing by key (`pairing`), the numbers
(`analysis`), the verdicts (`verdicts`), the page (`content`, `tables`, `figures`, `output`, `summary`), and files for
papers (`latex`).
"""
