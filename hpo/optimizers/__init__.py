"""The optimizers, and PBT's selections and perturbations: one module each, imported when its name is asked for."""
