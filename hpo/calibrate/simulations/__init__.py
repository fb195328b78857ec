"""Calibrate the statistics with simulated studies whose truth is known, through the functions that the report uses.

`hpo calibrate statistics` prints Markdown tables of rejection rates, coverage and power. A row with a claim is *ok* or
*wrong*: its count must lie in the 99.9% binomial band about the claimed rate, so that one row in a thousand is wrong by chance.
A row without a claim is *shown*: how a statistic behaves if its assumption is violated, or why the report does not use it. The
pipeline around the statistics is calibrated by `hpo calibrate`.
"""
