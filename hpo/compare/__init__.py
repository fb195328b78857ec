"""`hpo compare`: the same arms on several tasks, from finished studies or from a plain CSV file.

In this order: the inputs (`inputs`, `runs`, `table`), pairing by key (`pairing`), the numbers (`analysis`), the verdicts
(`verdicts`), and the page (`content`, `tables`, `figures`, `output`, `summary`).
"""
