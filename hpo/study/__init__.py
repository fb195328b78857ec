"""A study: its file, its tables, and what identifies its results."""
