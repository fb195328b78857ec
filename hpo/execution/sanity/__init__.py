"""Tries a new study before anything of it starts: what would go wrong in silence, or late, is said now."""

from hpo.execution.sanity.check import sanity_check

__all__ = ["sanity_check"]
