"""The segments that were used last, at hand."""

from hpo.core.segments import Key
from hpo.store.records import Stored


class Recent:
    """The finished segments that were used last, between one and two generations of them.

    A generation is full at so many entries, or bytes of states; then the one before it is let go. So memory does not grow with
    a study, and what a population goes on from is at hand.
    """

    _ENTRIES = 25_000
    _BYTES = 64 * 1024 * 1024

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Let all go."""
        self._old: dict[Key, Stored] = {}
        self._young: dict[Key, Stored] = {}
        self._bytes = 0

    def get(self, key: Key) -> Stored | None:
        """Return a segment that is at hand, or None."""
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Key, stored: Stored) -> None:
        """Have a segment at hand."""
        if len(self._young) >= self._ENTRIES or self._bytes >= self._BYTES:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[key] = stored
        if stored.checkpoint is not None and stored.checkpoint.data is not None:
            self._bytes += len(stored.checkpoint.data)

    def forget(self, key: Key) -> None:
        """Let one go."""
        self._young.pop(key, None)
        self._old.pop(key, None)
