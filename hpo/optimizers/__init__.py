"""Optimizers, and PBT's selections and perturbations. A module is imported when a study first names its plug-in."""
