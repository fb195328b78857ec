"""Runs a study and writes its results."""
