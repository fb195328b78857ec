"""Named random streams: every random number in a study belongs to a name, never to who asked first.

A stream's name is (study seed, stream, member, interval, purpose). It is hashed to the key of a counter-based generator
(Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so that the streams are independent and any
of them can be had without drawing from the others.

The purposes in use, and what their names hold beside the replicate's seed:

| purpose | stream | member | interval | draws |
|---|---|---|---|---|
| `prior` | - | slot | - | the slot's hyperparameters in the initial population |
| `initialize` | - | slot | - | the slot's initial weights |
| `split` | - | - | - | development data -> training + validation |
| `order` | - | - | epoch | one shuffle per epoch and split, shared by all members |
| `noise` | yes | slot | interval | what training draws: dropout, environments |
| `evaluation` | yes | slot | interval | what the evaluation of a member draws that trained in a stack |
| `selection`, `perturbation` | yes | -, slot | interval | PBT's two steps; the slot is the first of those that wait for nobody |
| `sampler` | yes | - | - | the seed of an Optuna sampler |
| `grid` | yes | - | - | which points of a grid that is larger than the population, in which order |
| `quasi_random` | yes | - | - | the scrambling of a quasi-random sequence |
| `proposal` | yes | slot | - | BOHB's proposal for a slot |
| `shuffle` | yes | - | - | the order in which a derived arm walks a schedule |
| `test` | yes | - | - | what the evaluation on the test set draws |
| `sanity/...` | - | - | interval | everything that the check before a study draws; nothing of it is kept |

An arm's own `stream` is below 2^53, and its members are below 2^40. Beyond them lie the streams of further retrains
(`retrain_stream`) and the slot of the member that derived arms retrain (`REPLAY_SLOT`).
"""

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np

from hpo.core.errors import HpoError

LARGEST_STREAM = 2**53 - 1
"""Of an arm, and the largest seed: what JSON readers of every language hold exactly."""
REPLAY_SLOT = 2**40
"""The slot of a member that no optimizer can ask for: its initial weights and its noise are seen by no selection."""


def retrain_stream(stream: int, number: int) -> int:
    """Return the stream of an arm's retrain: its own for number 0, for each further one a stream that no arm can have."""
    return stream + number * (LARGEST_STREAM + 1)


@dataclass(frozen=True)
class Streams:
    """The random streams of one arm in one replicate.

    Args:
        seed: the replicate's seed.
        stream: the arm's key `stream`. Arms with the same stream draw the same noise; arms with different ones are
            independent repeats on the same initial population.
    """

    seed: int
    stream: int = 0

    def key(self, purpose: str, *, member: int = -1, interval: int = -1, shared: bool = False) -> int:
        """Return the 128-bit key of a named stream.

        Args:
            purpose: what is drawn; see the module's table.
            member: the slot, or -1 for none.
            interval: the interval or epoch, or -1 for none.
            shared: True leaves the arm's `stream` out: all arms of the replicate draw the same numbers.
        """
        stream = "shared" if shared else str(self.stream)
        name = f"{self.seed}/{stream}/{member}/{interval}/{purpose}"
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")

    def generator(
        self, purpose: str, *, member: int = -1, interval: int = -1, shared: bool = False
    ) -> np.random.Generator:
        """Return a fresh generator at the start of a named stream; the arguments are those of `key`."""
        key = self.key(purpose, member=member, interval=interval, shared=shared)
        return np.random.Generator(np.random.Philox(key=key))


@contextmanager
def forked_generators(key: int) -> Iterator[None]:
    """Seed the global generators of `random`, numpy and torch from a key, and put them back as they were on leaving.

    Training code draws from global generators (`F.dropout` takes no other). Inside this block they hold the stream of one
    segment; nothing that happens outside is seen or disturbed. Torch is touched only where it is loaded.

    Args:
        key: a 128-bit key from `Streams.key`.

    Raises:
        HpoError: torch was imported inside, where its generators could not be seeded.
    """
    torch = sys.modules.get("torch")
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state() if torch is not None else None
    cuda_states = torch.cuda.get_rng_state_all() if torch is not None and torch.cuda.is_initialized() else None
    random.seed(key)
    np.random.seed(np.frombuffer(key.to_bytes(16, "little"), dtype=np.uint32))
    if torch is not None:
        # `torch.manual_seed` notes who called it for devices that start later: a millisecond, where there are none.
        seed_torch = torch.manual_seed if _has_devices() else torch.default_generator.manual_seed
        seed_torch(key & (2**63 - 1))
    try:
        yield
        if torch is None and "torch" in sys.modules:
            raise HpoError(
                "torch was imported while a segment ran, unseeded: import it at the top of the task's module"
            )
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if torch is not None:
            torch.set_rng_state(torch_state)
            if cuda_states is not None:
                torch.cuda.set_rng_state_all(cuda_states)


@cache
def _has_devices() -> bool:
    """Say whether torch could compute on anything but the CPU."""
    torch = sys.modules["torch"]
    return bool(torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available())
