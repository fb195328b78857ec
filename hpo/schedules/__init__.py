"""Hyperparameter schedules: files, tables, and schedulers for PyTorch."""
