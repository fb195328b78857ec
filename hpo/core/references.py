"""Options that name an object of a module: `module:name` in a study file, the object itself in a program."""

import inspect
import sys
from typing import Annotated, Any

from pydantic import AfterValidator

from hpo.core.errors import OptionError
from hpo.core.space import Rule


def _checked(given: Any) -> Any:
    parts = str(given).split(":")
    if len(parts) != 2 or not all(name.isidentifier() for part in parts for name in part.split(".")):
        raise ValueError('an object of a module as "module:name", like "my_module:objective"')
    return given


Reference = Annotated[Any, AfterValidator(_checked)]
"""The type of such an option."""


def rule_of(given: Any) -> Rule | None:
    """Return the rule that an option `feasible` names; None if it is not given.

    Raises:
        OptionError: there is no such function.
    """
    allowed = "a function of hyperparameters that returns True or False"
    found = None if given is None else referred("feasible", given, allowed)
    if found is not None and not callable(found):
        raise OptionError("feasible", given, allowed)
    return found


def referred(option: str, given: Any, allowed: str) -> Any:
    """Return the object that an option names; its module has been imported.

    Args:
        option: the option's name.
        given: its value; anything but a text is the object itself.
        allowed: what the object must be, for the error.

    Raises:
        OptionError: the module has no such object.
    """
    if not isinstance(given, str):
        return given
    module, _, name = given.partition(":")
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        own = [
            key
            for key, value in vars(sys.modules[module]).items()
            if inspect.isfunction(value) or inspect.isclass(value)
        ]
        raise OptionError(option, given, f"{allowed}; {module} has {', '.join(own) or 'no functions or classes'}")
    return found
