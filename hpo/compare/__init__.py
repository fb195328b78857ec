"""``python -m hpo.compare``: the same arms on several tasks, from finished studies or from a plain CSV file.

Reading (`reading`, `runs`, `table_file`), joining by key (`joining`), the numbers (`analysis`), what may be said of them
(`verdicts`), and how it is shown (`page`, `figures`, `output`) are rooms of their own.
"""
