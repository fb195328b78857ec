"""The calibration of the numbers: simulated studies whose truth is known, through the functions that the report uses.

`python -m hpo.calibrate.simulations` prints a Markdown table of rejection rates, coverage and power. A row that promises
something is *ok* or *wrong*: its count must lie in the 99.9% binomial band about what is promised, so that even in a run
without any fault one row in a thousand is wrong by chance. A row that promises nothing is *shown*: what becomes of a number
whose assumption does not hold, or why the report does not give it. The pipeline around the numbers is calibrated by
`python -m hpo.calibrate`.
"""
