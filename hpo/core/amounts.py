"""Numbers with their units, as in messages and reports."""


def amount(value: float, unit: str, space: str = " ") -> str:
    """Return a number with its unit, whose plural ends in "s".

    >>> amount(0.5, "epochs"), amount(1, "epochs")
    ('0.5 epochs', '1 epoch')
    """
    return f"{value:g}{space}{unit.removesuffix('s') if value == 1 else unit}"
