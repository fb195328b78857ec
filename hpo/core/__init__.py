"""Contracts and records that every other package uses: tasks, optimizers, segments, search spaces, random streams, files."""
