"""Reading a TOML file, with every way in which it can be none said in the user's words."""

import tomllib
from pathlib import Path
from typing import Any

from hpo.errors import Mistake, SpecError, did_you_mean


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Args:
        path: the file.
        what: what it should be, for messages, like `study file`.

    Raises:
        SpecError: there is no such file, or it cannot be read, or it is not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*.toml")))
        raise SpecError(str(path), [Mistake(what, "there is no such file", hint=near)]) from None
    except OSError as error:
        raise SpecError(str(path), [Mistake(what, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise SpecError(str(path), [Mistake("not UTF-8 text", f"byte {error.start}: {error.reason}")]) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(str(path), [Mistake("not TOML", str(error))]) from None
