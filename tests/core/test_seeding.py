"""Named random streams."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.seeding import Streams, forked_generators

NAMES = st.tuples(
    st.integers(0, 2**53),
    st.integers(0, 5),
    st.sampled_from(["prior", "initialize", "split", "order", "noise", "selection"]),
    st.integers(-1, 30),
    st.integers(-1, 30),
    st.booleans(),
)


def key_of(name):
    seed, stream, purpose, member, interval, shared = name
    return Streams(seed, stream).key(purpose, member=member, interval=interval, shared=shared)


def drawn_from_globals():
    return random.random(), float(np.random.random()), float(torch.rand(()))


@given(NAMES)
def test_a_stream_is_reproducible(name):
    seed, stream, purpose, member, interval, shared = name
    first, again = (
        Streams(seed, stream).generator(purpose, member=member, interval=interval, shared=shared).random(3)
        for _ in range(2)
    )
    assert first.tolist() == again.tolist()
    assert 0 <= key_of(name) < 2**128


@given(st.lists(NAMES, min_size=2, max_size=20, unique=True))
def test_distinct_names_are_distinct_streams(names):
    # A shared stream leaves the arm's `stream` out of its name.
    distinct = {(seed, None if shared else stream, *rest) for seed, stream, *rest, shared in names}
    assert len({key_of(name) for name in names}) == len(distinct)


def test_what_arms_share():
    one, other = Streams(3, 0), Streams(3, 1)
    assert one.key("prior", member=2, shared=True) == other.key("prior", member=2, shared=True)
    assert one.key("noise", member=2) != other.key("noise", member=2)
    assert one.key("noise", member=2) != one.key("noise", member=2, shared=True)


def test_the_streams_never_change():
    """Golden: a change here changes every result; raise ENGINE_VERSION with it."""
    assert Streams(0).key("prior", member=0, shared=True) == GOLDEN_KEY
    assert Streams(0).generator("prior", member=0, shared=True).random() == GOLDEN_DRAW


GOLDEN_KEY = 193611254479211852782222487433287654664
GOLDEN_DRAW = 0.6290851024074081


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_same_in_another_process(hash_seed):
    code = "from hpo.core.seeding import Streams; print(Streams(7, 1).key('noise', member=3, interval=4))"
    out = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
    )
    assert int(out.stdout) == Streams(7, 1).key("noise", member=3, interval=4)


@given(st.integers(0, 2**128 - 1))
def test_a_fork_reproduces_and_leaves_no_trace(key):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    undisturbed = [drawn_from_globals() for _ in range(2)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = drawn_from_globals()
    inside = []
    for _ in range(2):
        with forked_generators(key):
            inside.append([drawn_from_globals() for _ in range(3)])
    assert [before, drawn_from_globals()] == undisturbed
    assert inside[0] == inside[1]


def test_a_fork_restores_after_an_error():
    torch.manual_seed(1)
    expected = drawn_from_globals()[2]
    torch.manual_seed(1)
    with pytest.raises(ZeroDivisionError), forked_generators(5):
        torch.rand(int(1 / torch.zeros(()).item()))
    assert drawn_from_globals()[2] == expected


def test_different_keys_seed_different_noise():
    draws = []
    for key in (0, 1, 2**64, 2**127):
        with forked_generators(key):
            draws.append(drawn_from_globals())
    python, numpy, of_torch = zip(*draws, strict=True)
    assert len(set(python)) == len(set(numpy)) == 4
    # torch takes 63 bits of the key.
    assert len(set(of_torch)) == 2


def test_torch_imported_inside_a_segment_is_refused():
    """Nothing could seed what it drew."""
    script = "from hpo.core.seeding import forked_generators\nwith forked_generators(1):\n    import torch\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "import it at the top of the task's module" in done.stderr
