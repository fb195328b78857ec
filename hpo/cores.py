"""How many cores there are to work with."""


def usable_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or that its container's CPU quota pays for."""
    from joblib import cpu_count

    return int(cpu_count())
