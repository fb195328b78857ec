"""Reads what a user wants to track with: `NAME:DESTINATION`."""

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo.core.errors import InputError
from hpo.core.registry import UnknownName, trackers
from hpo.core.tracker import Tracker


@dataclass(frozen=True)
class Choice:
    """A tracker that a user chose.

    Args:
        name: its registered name.
        destination: where it writes.
        module: the module that registers it.
    """

    name: str
    destination: str
    module: str

    def __str__(self) -> str:
        return f"{self.name}:{self.destination}"

    @property
    def place(self) -> str:
        """What is the same for all spellings of the destination."""
        return f"{self.name}:{trackers.get(self.name).place(self.destination)}"

    def build(self) -> Tracker:
        """Return the tracker."""
        return trackers.get(self.name)(self.destination)


def chosen(texts: str | Iterable[str], option: str) -> Sequence[Choice]:
    """Return the trackers that texts name.

    Args:
        texts: each as `NAME:DESTINATION`.
        option: what the user wrote them to, for messages.

    Raises:
        InputError: a text has another form, no tracker has its name, or a library is not installed.
    """
    listed = [texts] if isinstance(texts, str) else list(texts) if isinstance(texts, Iterable) else [texts]
    if wrong := [text for text in listed if not isinstance(text, str)]:
        raise InputError(f"{option} = {wrong[0]!r}: allowed: NAME:DESTINATION as a text, or a list of them")
    return list({choice.place: choice for choice in (_chosen(text, option) for text in reversed(listed))}.values())[
        ::-1
    ]


def _chosen(text: str, option: str) -> Choice:
    name, _, destination = text.partition(":")
    if not name or not destination:
        raise InputError(
            f"{option} {text!r}: allowed: NAME:DESTINATION, such as tensorboard:runs/tensorboard, mlflow:sqlite:///mlflow.db or"
            " wandb:PROJECT"
        )
    try:
        cls = trackers.get(name)
    except UnknownName as error:
        raise InputError(f"{option} {text}: {error}") from None
    except Exception as error:
        raise InputError(f"{option} {text}: the tracker cannot be loaded: {type(error).__name__}: {error}") from None
    if cls.library is not None and importlib.util.find_spec(cls.library) is None:
        how = f"pip install 'hpo[{cls.extra}]'" if cls.extra else f"pip install {cls.library}"
        raise InputError(f"{option} {text}: {cls.library} is not installed: {how}")
    if cls.__module__ == "__main__":
        raise InputError(
            f"{option} {text}: trackers run in a process of their own, which cannot import a class of this script or notebook: move"
            f" it to a module, or pass observer={cls.__name__}({destination!r})"
        )
    return Choice(name, destination, cls.__module__)
