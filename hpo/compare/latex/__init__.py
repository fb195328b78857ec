"""A comparison for a paper: tables, figures with captions and a paragraph, as files for LaTeX.

In this order: text that LaTeX shows as it is (`escape`), the tables (`tables`), and the files (`documents`).
"""
