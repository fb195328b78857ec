"""The report of a run directory: tables and figures as HTML, Markdown, PNG and SVG.

It is rebuilt from ``results.json`` and ``segments.csv`` alone, without the store, so anyone can recompute what it
shows. It computes no statistics: every p, interval and verdict is read from ``results.json``.
"""
