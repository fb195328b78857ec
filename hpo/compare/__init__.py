"""``python -m hpo.compare``: the same arms on several tasks, from finished studies or from a plain CSV file.

In this order: reading (`reading`, `runs`, `table`), joining by key (`joining`), the numbers (`analysis`), the verdicts
(`verdicts`), and what is shown of them (`content`, `tables`, `figures`, `output`, `summary`).
"""
