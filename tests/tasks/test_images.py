"""Tasks `fashion_mnist` and `cifar10`: their files however they are broken, read from tiny ones in the same formats."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_images
import torch
from tiny_images import CIFAR, FASHION, TinyArchive, TinyCifar, TinyFashion

from hpo.core.errors import DataError, OptionError
from hpo.core.registry import tasks
from hpo.core.seeding import forked_generators
from hpo.core.task import Batches, Examples
from hpo.tasks.images.cifar10 import Cifar10, Cifar10Source
from hpo.tasks.images.fashion_mnist import FashionMnist
from hpo.tasks.images.mnist import Mnist
from hpo.tasks.images.models import ConvNet

H = {"lr": 0.01, "momentum": 0.9}
TINY = [TinyFashion, TinyCifar]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    tiny_images.write(tmp_path / "data")
    return tmp_path / "data"


def test_registration_and_models():
    assert (tasks.get("fashion_mnist"), tasks.get("cifar10")) == (FashionMnist, Cifar10)
    for task, shape in ((FashionMnist(), (2, 1, 28, 28)), (Cifar10(), (2, 3, 32, 32))):
        assert task.build_model(H)(torch.zeros(shape)).shape == (2, 10)
        assert set(task.search_space) == set(tasks.get("mnist")().search_space)
    assert sum(parameter.numel() for parameter in ConvNet(32, 32, 3).parameters()) == 136_874


def test_what_is_read_is_what_the_files_hold(root):
    for part, (images, labels) in FASHION.items():
        found = TinyFashion(root=str(root)).source.load(part)
        assert np.array_equal(found[0], images)
        assert np.array_equal(found[1], labels)
    images, labels = Cifar10Source(str(root), archive=TinyArchive).load("train")
    assert np.array_equal(images, np.concatenate([CIFAR["data_batch_1"][0], CIFAR["data_batch_2"][0]]))
    assert np.array_equal(labels, np.concatenate([CIFAR["data_batch_1"][1], CIFAR["data_batch_2"][1]]))
    images, _ = Cifar10Source(str(root), archive=TinyArchive).load("test")
    assert np.array_equal(images, CIFAR["test_batch"][0])


@pytest.mark.parametrize("cls", TINY)
def test_batches_are_normalised(root, cls):
    task = cls(root=str(root))
    mean, std = (np.array(numbers) for numbers in task.source.scale)
    images = {TinyFashion: FASHION["train"], TinyCifar: CIFAR["data_batch_1"]}[cls][0]
    inputs, targets = task.development_data().take(np.array([7, 3]))
    expected = (images[[7, 3]] / 255 - mean) / std
    np.testing.assert_allclose(inputs.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert targets.tolist() == [7, 3]


@pytest.mark.parametrize("cls", TINY)
def test_it_learns(root, cls):
    task = cls(root=str(root))
    data = task.development_data()
    with task.numerics_scope(), forked_generators(1):
        state = task.initialize(H)
        for epoch in range(30):
            state = task.train(state, H, Batches(data, np.arange(120), 12, epoch, epoch + 1))
        found = task.evaluate(state, Examples(task.test_data(), np.arange(40)))
    assert found.metrics["error"] < 0.5  # 0.9 by guessing
    assert found.correct.shape == (40,)


@pytest.mark.parametrize("cls", TINY)
def test_a_stratified_subset(root, cls):
    whole, some = cls(root=str(root)), cls(root=str(root), development_size=50)
    data = some.development_data()
    assert np.bincount(data.take(np.arange(50))[1].numpy()).tolist() == [5] * 10
    fingerprints = [whole.development_data().fingerprint, data.fingerprint, whole.test_data().fingerprint]
    assert len(set(fingerprints)) == 3
    with pytest.raises(OptionError, match="development_size"):
        cls(root=str(root), development_size=60_001)


FILES = [
    *[("FashionMNIST/raw", name) for name in tiny_images.FASHION_FILES],
    *[("cifar-10-batches-py", name) for name in tiny_images.CIFAR_FILES],
]


@pytest.mark.parametrize(("folder", "name"), FILES)
def test_a_broken_or_missing_file_is_named(root, folder, name):
    task = (TinyFashion if folder.startswith("Fashion") else TinyCifar)(root=str(root))
    task.check()
    path = root / folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="damaged") as caught:
        task.check()
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(DataError, match="no such file; download = true") as caught:
        task.check()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cls", [FashionMnist, Cifar10])
def test_files_of_another_content_are_refused(root, cls):
    with pytest.raises(DataError, match="damaged"):
        cls(root=str(root)).check()
    with pytest.raises(DataError, match="nowhere"):
        cls(root=str(root / "nowhere")).check()


class Trap:
    """What runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_of_another_content_is_never_unpickled(root, tmp_path):
    sprung = tmp_path / "sprung"
    content = pickle.dumps(Trap(sprung))
    pickle.loads(content)
    assert sprung.exists()
    sprung.unlink()
    for name in tiny_images.CIFAR_FILES:
        (root / "cifar-10-batches-py" / name).write_bytes(content)
    for source in (Cifar10Source(str(root)), Cifar10Source(str(root), archive=TinyArchive)):
        for read in (
            source.check,
            lambda source=source: source.load("train"),
            lambda source=source: source.load("test"),
        ):
            with pytest.raises(DataError):
                read()
    assert not sprung.exists()


def test_a_failed_download_names_the_folder(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the directory should be")
    for cls in (Mnist, FashionMnist, Cifar10):
        with pytest.raises(DataError, match="cannot download") as caught:
            cls(root=str(blocked), download=True).check()
        assert str(blocked) in str(caught.value)
