"""A cache of recently used segments."""

from hpo.core.segments import Key
from hpo.store.records import Stored


class Recent:
    """A bounded cache of finished segments, in two generations.

    A full generation, by entries or bytes of states, replaces the older one. Memory stays bounded however long a study runs, and
    the parents of the current population stay cached.
    """

    _ENTRIES = 25_000
    _BYTES = 64 * 1024 * 1024

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Clear the cache."""
        self._old: dict[Key, Stored] = {}
        self._young: dict[Key, Stored] = {}
        self._bytes = 0

    def get(self, key: Key) -> Stored | None:
        """Return a cached segment, or None."""
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Key, stored: Stored) -> None:
        """Cache a segment."""
        if len(self._young) >= self._ENTRIES or self._bytes >= self._BYTES:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[key] = stored
        if stored.checkpoint is not None and stored.checkpoint.data is not None:
            self._bytes += len(stored.checkpoint.data)

    def forget(self, key: Key) -> None:
        """Remove a segment from the cache."""
        self._young.pop(key, None)
        self._old.pop(key, None)
