"""Named random streams: every random number in a study comes from one, independent of the order of execution.

A stream's name is (study seed, stream, member, interval, purpose). Its hash is the key of a counter-based generator (Philox: Salmon
et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so that streams are independent, and each can be used without
drawing from the others.

The purposes, and what else is in their names apart from the replicate's seed:

| purpose | stream | member | interval | draws |
|---|---|---|---|---|
| `prior` | - | slot | - | the slot's hyperparameters in the initial population |
| `initialize` | - | slot | -, interval | the slot's initial weights; with an interval: the fresh weights of a transform there |
| `split` | - | - | - | development data -> training + validation |
| `order` | - | - | epoch | one shuffle per epoch and split, shared by all members |
| `noise` | yes | slot | interval | training: dropout, environments |
| `evaluation` | yes | slot | interval | the evaluation of a member that trained in a stack |
| `evaluation_at_start` | yes | slot | interval | the evaluation of a member before it trains |
| `selection`, `perturbation` | yes | -, slot | interval | PBT's two steps; for a part of the population: with its first slot |
| `restart` | yes | - | iteration | what IPBT starts with after a restart |
| `sampler` | yes | - | - | the seed of an Optuna sampler |
| `grid` | yes | - | - | the choice and order of points from a grid that is larger than the population |
| `quasi_random` | yes | - | - | the scrambling of a quasi-random sequence |
| `proposal` | yes | slot | - | BOHB's proposal for a slot |
| `shuffle` | yes | - | - | the order of a derived arm's schedule |
| `test` | yes | - | - | the evaluation on the test set |
| `stack` | - | - | interval | what a stack's lanes share: the augmentation of their batches |
| `data` | - | - | batch | the augmentation of a batch; in place of the seed, a number from the stream of the segment |
| `sanity/...` | - | - | interval | everything in the check before a study; none of it is kept |

An arm's own `stream` is below 2^53, and its members are below 2^40. Larger ones are the streams of further retrains
(`retrain_stream`) and the slot of the member that derived arms retrain (`REPLAY_SLOT`).
"""

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np

from hpo.core.errors import HpoError

LARGEST_STREAM = 2**53 - 1
"""The largest stream of an arm, and the largest seed: the largest integer that JSON readers of all languages represent exactly."""
REPLAY_SLOT = 2**40
"""A slot that no optimizer can ask for, so that no selection sees its initial weights and its noise."""


def retrain_stream(stream: int, number: int) -> int:
    """Return the stream of an arm's retrain: its own for number 0, and one that no arm can have for each further one."""
    return stream + number * (LARGEST_STREAM + 1)


@dataclass(frozen=True)
class Streams:
    """The random streams of one arm in one replicate.

    Args:
        seed: the replicate's seed.
        stream: the arm's key `stream`. Arms with the same stream draw the same noise; arms with different ones are independent
            repeats on the same initial population.
    """

    seed: int
    stream: int = 0

    def key(self, purpose: str, *, member: int = -1, interval: int = -1, shared: bool = False) -> int:
        """Return the 128-bit key of a named stream.

        Args:
            purpose: what is drawn; see the module's table.
            member: the slot, or -1 for none.
            interval: the interval or epoch, or -1 for none.
            shared: leave out the arm's `stream`, so that all arms of the replicate draw the same numbers.
        """
        stream = "shared" if shared else str(self.stream)
        name = f"{self.seed}/{stream}/{member}/{interval}/{purpose}"
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")

    def generator(
        self, purpose: str, *, member: int = -1, interval: int = -1, shared: bool = False
    ) -> np.random.Generator:
        """Return a new generator at the start of a named stream; for the arguments see `key`."""
        key = self.key(purpose, member=member, interval=interval, shared=shared)
        return np.random.Generator(np.random.Philox(key=key))


Seed = Callable[[int], None]
"""Seeds the global generators from a 128-bit key, as those of `Streams.key`."""


@contextmanager
def forked_generators(key: int) -> Iterator[Seed]:
    """Seed the global generators as `seeded_generators` does, and restore them on leaving."""
    with kept_generators(), seeded_generators(key) as seed:
        yield seed


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the global generators of `random`, numpy and torch, on CPU and CUDA, on leaving."""
    torch = sys.modules.get("torch")
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state() if torch is not None else None
    cuda_states = torch.cuda.get_rng_state_all() if torch is not None and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if torch is not None:
            torch.set_rng_state(torch_state)
            if cuda_states is not None:
                torch.cuda.set_rng_state_all(cuda_states)


@contextmanager
def seeded_generators(key: int) -> Iterator[Seed]:
    """Seed the global generators of `random`, numpy and torch from a key.

    Training code draws from global generators (`F.dropout` accepts no generator). Within this block they follow the stream of one
    segment, independent of everything outside. Torch is seeded only if it is loaded.

    Args:
        key: a 128-bit key from `Streams.key`.

    Yields:
        A function that seeds them from another key.

    Raises:
        HpoError: torch was imported within the block, so that its generators were not seeded.
    """
    loaded = "torch" in sys.modules
    _seed(key)
    yield _seed
    if not loaded and "torch" in sys.modules:
        raise HpoError(
            "torch was imported while a segment ran, without a seed: import it at the top of the task's module"
        )


def _seed(key: int) -> None:
    random.seed(key)
    np.random.seed(np.frombuffer(key.to_bytes(16, "little"), dtype=np.uint32))
    torch = sys.modules.get("torch")
    if torch is not None:
        # `torch.manual_seed` records its caller for devices that start later, which takes a millisecond.
        seed_torch = torch.manual_seed if _has_devices() else torch.default_generator.manual_seed
        seed_torch(key & (2**63 - 1))


@cache
def _has_devices() -> bool:
    """Return whether torch could compute on anything but the CPU."""
    torch = sys.modules["torch"]
    return bool(torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available())
