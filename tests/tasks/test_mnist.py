"""Task `mnist`: the model, and its data however it is broken."""

import gzip
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d, relu

from hpo.core.errors import DataError, OptionError
from hpo.core.registry import tasks
from hpo.core.seeding import forked_generators
from hpo.core.task import Batches, Examples
from hpo.tasks.images.cache import shared_array
from hpo.tasks.images.mnist import PACKAGED, TEST, TRAIN, Mnist
from hpo.tasks.images.models import MnistNet
from hpo.tasks.torch.datasets import stratified

SOURCE = Mnist().source
H = {"lr": 0.1, "momentum": 0.5}


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache directory with both image files in it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_CACHE", str(folder))
        SOURCE.load("train")
        SOURCE.load("test")
    return folder


@pytest.fixture(autouse=True)
def _cache(warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(warm_cache))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with copies of the four files."""
    folder = tmp_path / "files"
    folder.mkdir()
    for path in PACKAGED.glob("*.gz"):
        shutil.copy(path, folder)
    return folder


def test_the_net_and_its_registration() -> None:
    assert tasks.get("mnist") is Mnist
    assert sum(parameter.numel() for parameter in MnistNet().parameters()) == 21_840
    assert MnistNet()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def plain(net: MnistNet, x: torch.Tensor) -> torch.Tensor:
    """Return what the example's own forward pass returns in evaluation mode."""
    for conv in (net.conv1, net.conv2):
        x = relu(max_pool2d(conv(x), 2))
    return net.fc2(relu(net.fc1(x.flatten(1))))


def test_the_net_is_that_of_the_example() -> None:
    net = MnistNet().double().eval()
    x = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(net(x), plain(net, x))
    torch.testing.assert_close(net.float()(x.float()), plain(net, x.float()))


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so eagerly")
def test_training_asks_the_system_for_no_memory() -> None:
    code = """
import resource
import numpy as np
from hpo.core.task import Batches
from hpo.tasks.images.mnist import Mnist
task, hparams = Mnist(), {"lr": 0.01, "momentum": 0.9}
data = task.development_data()
with task.numerics_scope():
    state = task.initialize(hparams)
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        state = task.train(state, hparams, Batches(data, np.arange(6400), 64, 0, 1))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 100)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(said) < 50  # page faults in a step: some hundreds without `keep_freed_memory`


def test_batches_are_normalised() -> None:
    task = Mnist()
    data = task.development_data()
    images, labels = SOURCE.load("train")
    assert len(data) == 60_000
    assert isinstance(np.asarray(images).base, np.memmap) or isinstance(images, np.memmap)
    inputs, targets = data.take(np.array([5, 59_999, 0]))
    expected = (images[[5, 59_999, 0], ..., 0].astype(np.float64) / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(inputs.numpy()[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert targets.tolist() == labels[[5, 59_999, 0]].tolist()
    some = data.take(np.arange(0, 60_000, 7))[0]
    assert abs(float(some.mean())) < 0.01
    assert abs(float(some.std()) - 1) < 0.01


def test_it_learns_and_restores_bit_for_bit() -> None:
    task = Mnist(development_size=3000)
    data = task.development_data()
    with task.numerics_scope(), forked_generators(3):
        first = task.train(task.initialize(H), H, Batches(data, np.arange(0, 1200), 64, 0, 1))
        saved = task.to_arrays(first)
    with task.numerics_scope():
        results = []
        for from_arrays in (False, True):
            with forked_generators(4):
                state = task.from_arrays(saved, H) if from_arrays else first
                state = task.train(state, H, Batches(data, np.arange(1200, 2400), 64, 1, 2))
                results.append(task.to_arrays(state))
        error = task.evaluate(state, Examples(data, np.arange(2400, 3000))).metrics["error"]
    assert all(np.array_equal(results[0][name], results[1][name]) for name in results[0])
    assert error < 0.5


@pytest.mark.parametrize("name", [f"{file.name}.gz" for part in (TRAIN, TEST) for file in (part.images, part.labels)])
def test_a_broken_file_is_named(files: Path, name: str) -> None:
    path = files / name
    whole = path.read_bytes()
    damaged = bytearray(gzip.decompress(whole))
    damaged[-1] ^= 1
    for content, why in (
        (whole[: len(whole) // 2], "truncated"),
        (b"not gzip", "damaged"),
        (gzip.compress(bytes(damaged), 0), "MD5"),
        (None, "no such file"),
    ):
        path.write_bytes(content) if content is not None else path.unlink()
        with pytest.raises(DataError, match=why) as caught:
            replace(SOURCE, packaged=files).check()
        assert str(path) in str(caught.value)


def test_check_passes_on_the_package() -> None:
    Mnist().check()


def test_the_cache_is_built_once_and_rebuilt_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "deep" / "cache"))
    images, _ = SOURCE.load("test")
    (path,) = (tmp_path / "deep" / "cache").iterdir()
    whole = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    SOURCE.load("test")
    assert path.stat().st_mtime_ns == stamp
    for content in (whole[:-1], whole[:5000], b"", b"\x93NUMPY\x01\x00" + b"x" * 300, whole[:-9] + b"damaged!!"):
        # A new file, as another process would see: the mapped one must not change under `images`.
        path.unlink()
        path.write_bytes(content)
        again, _ = SOURCE.load("test")
        assert np.array_equal(again, images)
        assert path.read_bytes() == whole
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the directory should be")
    monkeypatch.setenv("HPO_CACHE", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = np.arange(5)
    found = shared_array("five.npy", lambda given: np.array_equal(given, array), lambda: array)
    assert np.array_equal(found, array)
    assert (tmp_path / f"hpo-{os.getuid()}" / "five.npy").exists()
    monkeypatch.setattr("tempfile.tempdir", str(blocked))
    assert shared_array("five.npy", lambda given: np.array_equal(given, array), lambda: array) is array


def test_two_processes_build_the_cache_at_once(tmp_path: Path) -> None:
    code = "from hpo.tasks.images.mnist import Mnist; print(Mnist().source.load('test')[0].sum())"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"HPO_CACHE": str(tmp_path)}
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    sums = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sums[0] == sums[1]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("size", [1, 100, 6000, 59_999, 60_000])
def test_a_subset_keeps_the_proportions(size: int) -> None:
    _, labels = SOURCE.load("train")
    chosen = stratified(labels, size)
    assert len(np.unique(chosen)) == len(chosen) == size
    assert np.array_equal(chosen, np.sort(chosen))
    assert np.array_equal(chosen, stratified(labels, size))
    exact = np.bincount(labels) * size / 60_000
    assert np.abs(np.bincount(labels[chosen], minlength=10) - exact).max() < 1


def test_a_subset_as_development_data() -> None:
    data = Mnist(development_size=600).development_data()
    whole = Mnist().development_data()
    _, labels = SOURCE.load("train")
    chosen = stratified(labels, 600)
    assert len(data) == 600
    assert torch.equal(data.take(np.arange(600))[0], whole.take(chosen)[0])
    assert torch.equal(data.take(np.arange(600))[1], whole.take(chosen)[1])
    fingerprints = [data.fingerprint, whole.fingerprint, Mnist().test_data().fingerprint]
    assert len({*fingerprints, Mnist(development_size=601).development_data().fingerprint}) == 4


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="1 to 60000"):
        Mnist(development_size=60_001)
    with pytest.raises(OptionError, match="root"):
        Mnist(download=True)


def test_a_torchvision_directory_gives_the_same_bytes(files: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in files.iterdir():
        (raw / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
    source = Mnist(root=str(root)).source
    source.check()
    with pytest.MonkeyPatch.context() as patch:  # nothing comes from a cache that the package filled
        patch.setenv("HPO_CACHE", str(tmp_path / "cache"))
        assert len(source.load("test")[0]) == 10_000
    for part in ("train", "test"):
        for ours, theirs in zip(SOURCE.load(part), source.load(part), strict=True):
            assert np.array_equal(ours, theirs)
    assert Mnist(root=str(root)).test_data().fingerprint == Mnist().test_data().fingerprint
    victim = raw / "t10k-labels-idx1-ubyte"
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(DataError, match="t10k-labels"):
        source.check()
    victim.unlink()
    with pytest.raises(DataError, match=r"t10k-labels.*download"):
        source.check()
    with pytest.raises(DataError, match="nowhere"):
        Mnist(root=str(tmp_path / "nowhere")).check()
