"""`hpo.Data`: map-style data sets, augmentation, DataLoader workers, collate functions, fingerprints."""

import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_tasks import LABELS, SENTENCES, Marked, padded, sentences
from datasets import Dataset as Rows
from helpers import PBT, document, environment, run
from PIL import Image
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

import hpo
from hpo.core.errors import HpoError
from hpo.core.seeding import forked_generators
from hpo.core.task import Examples
from hpo.tasks.torch import as_data
from hpo.tasks.torch.device import to_device

ALL = [np.arange(0, 8), np.arange(8, 16), np.arange(16, 24), np.array([3, 2, 2])]


def fetched(data: hpo.Data, batches: list[Any] = ALL) -> list[Any]:
    """Return batches, and then what each of the global generators draws."""
    with forked_generators(7):
        found = list(data.take_each(batches))
        return [*found, torch.rand(3), np.random.rand(), random.random()]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(torch.equal(one, other)) if isinstance(one, torch.Tensor) else one == other


# --- batches -------------------------------------------------------------------------------------------------------------


def test_augmentation_is_the_same_with_any_number_of_workers() -> None:
    one, two, three = (fetched(hpo.Data(Marked(augmented=True), workers=workers)) for workers in (0, 1, 2))
    assert equal(one, two)
    assert equal(one, three)
    marks = torch.cat([inputs[:, 4:6] for inputs, _ in one[: len(ALL)]])
    assert len(marks.unique()) == marks.numel()  # no two examples are augmented alike, not even the same one twice


def test_augmentation_does_not_move_what_the_model_draws() -> None:
    for dataset in (Marked(augmented=True), Marked()):
        drawn = fetched(hpo.Data(dataset))[len(ALL) :]
        with forked_generators(7):
            random.getrandbits(64)  # the one number that seeds all batches
            assert equal(drawn, [torch.rand(3), np.random.rand(), random.random()])


def test_two_passes_are_augmented_differently() -> None:
    data = hpo.Data(Marked(augmented=True))
    with forked_generators(0):
        assert not equal(list(data.take_each(ALL)), list(data.take_each(ALL)))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_a_data_loader(workers: int) -> None:
    dataset = TensorDataset(torch.randn(20, 2), torch.arange(20), torch.rand(20))
    found = Examples(hpo.Data(dataset, workers=workers), np.arange(20)).batches(6)
    assert equal(list(found), list(DataLoader(dataset, batch_size=6)))


def test_examples_are_fetched_together_where_a_data_set_can() -> None:
    class Together(list[int]):
        def __getitems__(self, positions: list[int]) -> list[int]:
            return [100 + position for position in positions]

    assert hpo.Data(Together([1, 2, 3])).take(np.array([2, 0])).tolist() == [102, 100]


def test_a_process_that_may_have_no_children_fetches_its_batches_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    wanted = fetched(hpo.Data(Marked(augmented=True)))
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    assert equal(fetched(hpo.Data(Marked(augmented=True), workers=2)), wanted)


def test_examples_are_made_with_one_thread_whoever_fetches_them() -> None:
    class Threads(list[int]):
        def __getitem__(self, index: Any) -> int:
            return torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for workers in (0, 2):
            found = list(hpo.Data(Threads(range(8)), workers=workers).take_each([np.arange(4)] * 3))
            assert torch.stack(found).eq(1).all()
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_arrays_of_a_collate_function_stay_arrays_with_workers() -> None:
    for workers in (0, 2):
        data = hpo.Data([1, 2, 3], collate_fn=np.array, workers=workers)
        assert [type(batch) for batch in data.take_each([np.arange(2)] * 3)] == [np.ndarray] * 3


# --- studies -------------------------------------------------------------------------------------------------------------


def study(name: str, **task: Any) -> dict[str, Any]:
    return document({"name": name, "module": "data_tasks", **task}, (PBT,), replicates=1, budget=2, population_size=2)


def test_augmentation_never_reaches_validation_and_test_whatever_the_workers(tmp_path: Path) -> None:
    """The task itself checks every batch for the mark of augmentation."""
    tables = []
    for fetchers, options in ((0, {}), (2, {}), (2, {"executor": "process", "workers": 2})):
        out = tmp_path / str(len(tables))
        found = run(study("marked", fetchers=fetchers), out, **options)
        arms = found.results["replicates"][0]["arms"]
        assert all(arm["test"]["count"] == 30 for arm in arms.values())
        tables.append((out / "segments.csv").read_text())
    assert (
        len({line.split(",")[-1] for line in tables[0].splitlines()}) > 4
    )  # a mark is a number of its own in each segment
    assert tables[0] == tables[1] == tables[2]


def test_rows_of_strings_with_a_collate_function(tmp_path: Path) -> None:
    found = run(study("sentences"), tmp_path)
    arm = found.results["replicates"][0]["arms"]["pbt"]
    assert arm["test"] == {"loss": pytest.approx(0.3, abs=0.4), "count": 16}
    assert arm["examples"] == 2 * 2 * 28  # 32 examples: four batches of 7


# --- moving batches ------------------------------------------------------------------------------------------------------


def test_batches_of_any_form_are_moved() -> None:
    points = torch.zeros(2, 3)
    assert to_device({"a": points}, "cpu", torch.channels_last)[1] is None
    assert to_device((points, None, [points]), "cpu", torch.channels_last)[0][0] is points
    assert to_device((points, "ab"), "cpu", torch.channels_last) == (points, "ab")
    packed, targets = to_device((pack_sequence([points]), points), "cpu", torch.channels_last)
    assert torch.equal(packed.data, points)
    assert targets is points


def test_what_cannot_be_moved_is_named() -> None:
    with pytest.raises(HpoError, match="Marked"):
        to_device({"texts": ["a"], "thing": Marked()}, "cuda", torch.channels_last)


# --- fingerprints --------------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(6):
        file = tmp_path / f"images/{'ab'[number % 2]}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(file)
    return tmp_path / "images"


def prints(root: Path, how: str = "auto") -> str:
    return hpo.Data(ImageFolder(root, ToTensor()), fingerprint=how).fingerprint


def test_files_count_by_place_size_and_time_or_by_content(images: Path, tmp_path: Path) -> None:
    assert prints(images) == prints(images, "files")
    assert prints(images, "mine") == "mine"
    other = shutil.copytree(images, tmp_path / "other")  # with its times
    for how in ("files", "content"):
        assert prints(other, how) == prints(images, how)
    (other / "a/0.png").touch()
    assert prints(other, "files") != prints(images, "files")
    assert prints(other, "content") == prints(images, "content")
    shutil.copyfile(images / "a/2.png", other / "a/0.png")
    os.utime(other / "a/0.png", ns=((images / "a/0.png").stat().st_mtime_ns,) * 2)
    assert prints(other, "content") != prints(images, "content")
    (other / "a/0.png").rename(other / "b/0.png")
    assert prints(other, "files") != prints(images, "files")


def test_a_part_and_a_join_of_folders_count_by_their_files(images: Path) -> None:
    folder = ImageFolder(images, ToTensor())
    several = [Subset(folder, [0, 1]), Subset(folder, [1, 0]), ConcatDataset([folder, folder]), folder]
    assert len({hpo.Data(each).fingerprint for each in several}) == 4
    before = hpo.Data(several[0]).fingerprint
    (images / "a/0.png").touch()
    assert hpo.Data(several[0]).fingerprint != before


def test_the_content_of_examples_counts_without_augmentation() -> None:
    data = hpo.Data(Marked(augmented=True), evaluation=Marked())
    assert data.fingerprint == hpo.Data(Marked()).fingerprint == pickle.loads(pickle.dumps(data)).fingerprint
    assert data.fingerprint != hpo.Data(Marked(seed=1)).fingerprint
    assert hpo.Data([1, 2]).fingerprint != hpo.Data([2, 1]).fingerprint


def test_rows_of_hugging_face_count_by_content_whatever_their_transform(tmp_path: Path) -> None:
    rows = Rows.from_dict({"text": SENTENCES, "label": LABELS})
    rows.save_to_disk(tmp_path / "rows")
    stored = Rows.load_from_disk(str(tmp_path / "rows"))
    same = [rows, stored, rows.with_transform(len), rows.select([*range(64)]), pickle.loads(pickle.dumps(rows))]
    assert len({hpo.Data(each).fingerprint for each in same}) == 1
    others = [
        rows.select(range(1, 33)),
        rows.select(range(32)),
        rows.shuffle(seed=0),
        rows.remove_columns("label"),
        rows,
    ]
    assert len({hpo.Data(each).fingerprint for each in others}) == 5
    by_files = hpo.Data(stored, fingerprint="files").fingerprint
    assert by_files == hpo.Data(stored, fingerprint="files").fingerprint != hpo.Data(stored).fingerprint
    assert sentences().test.fingerprint != sentences().fingerprint  # type: ignore[union-attr]


def test_transforms_and_collate_functions_are_code_of_the_data(images: Path) -> None:
    transform = ToTensor()
    found = hpo.Data(ImageFolder(images, transform), collate_fn=padded).transforms
    assert transform in found.train
    assert ImageFolder not in found.train
    assert found.collate_fn is padded
    own = hpo.Data(Marked(augmented=True), evaluation=Marked()).transforms
    assert (own.train, own.evaluation) == ((Marked, {"augmented": True}), (Marked, {"augmented": False}))
    rows = Rows.from_dict({"a": [1]}).with_transform(len)
    assert hpo.Data(Subset(ConcatDataset([rows, [2]]), [1])).transforms.train == (len,)


LOOP = """
import sys
import torch
import hpo
from loop_of_points import Training
from torchvision.transforms import Lambda

class Points:
    def __init__(self, scale, transform=None):
        self.scale, self.transform = scale, transform

    def __len__(self):
        return 40

    def __getitem__(self, index):
        point = torch.tensor(index / 40) + self.scale * torch.rand(())
        return self.transform(point) if self.transform else point

if __name__ == "__main__":
    workers = int(sys.argv[1])
    data = hpo.Data(Points(0.5, Lambda(lambda x: x - 0.1)), evaluation=Points(0), collate_fn=torch.stack)
    hpo.tune(Training, {"x": hpo.Float(0, 1)}, data=data, batch_size=8, validation_size=10, optimizer="random_search",
             population_size=3, budget=2, out="run", report=False, workers=workers)
"""
TRAINING = """
class Training:
    def __init__(self, hparams):
        self.x = hparams["x"]

    def train(self, batches):
        self.x += sum(float(batch.sum()) for batch in batches) / 1000

    def evaluate(self, examples):
        return sum(float((batch - self.x).square().sum()) for batch in examples)
"""


CHANGES = {
    ("Points(0.5", "Points(0.6"): "Transforms",
    ("x - 0.1", "x - 0.2"): "lambda",
    ("torch.tensor(index / 40)", "torch.tensor(index / 40) + 0 * index"): "Points",
    ("collate_fn=torch.stack", "collate_fn=lambda examples: torch.stack(examples)"): "Transforms",
}


def test_what_makes_the_batches_of_a_script_counts(tmp_path: Path) -> None:
    (tmp_path / "loop_of_points.py").write_text(TRAINING)

    def run_script(text: str, workers: int) -> str:
        (tmp_path / "script.py").write_text(text)
        command = [sys.executable, "script.py", str(workers)]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        return done.stderr

    assert not run_script(LOOP, 2)
    for (before, after), changed in CHANGES.items():
        assert re.search(f"{changed}.*was changed", run_script(LOOP.replace(before, after), 1))
    assert not run_script(LOOP + "print()", 1)


# --- what users give -----------------------------------------------------------------------------------------------------


def test_what_counts_as_data() -> None:
    data, arrays = hpo.Data([1, 2]), hpo.ArrayDataset(np.zeros(2), np.zeros(2))
    assert as_data(data) is as_data(lambda: data) is data
    assert as_data(arrays) is arrays
    for thing in ([1, 2], lambda: [1, 2]):
        assert as_data(thing).take(np.array([1])).tolist() == [2]
    assert len(as_data(Marked)) == 60
    with pytest.raises(hpo.InputError, match="int"):
        as_data(3)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter([1, 2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train": Stream()}, "Stream.*map-style"),
        ({"train": Rows.from_dict({"a": [1]}).to_iterable_dataset()}, "IterableDataset.*map-style"),
        ({"train": iter([1])}, "__getitem__"),
        ({"train": {"train": [1], "test": [2]}}, "train, test"),
        ({"train": DataLoader([1, 2])}, "DataLoader"),  # type: ignore[arg-type]
        ({"train": (torch.zeros(3), torch.zeros(3))}, "TensorDataset"),
        ({"train": []}, "without examples"),
        ({"train": None}, "NoneType"),
        ({"train": [1, 2], "evaluation": [1]}, "1 examples.*2"),
        ({"train": [1], "test": iter([1])}, "test"),
        ({"train": [1], "workers": -1}, "workers = -1"),
        ({"train": [1], "workers": True}, "workers = True"),
        ({"train": [1], "fingerprint": 3}, "fingerprint = 3"),
    ],
)
def test_what_is_no_data_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(hpo.InputError, match=words):
        hpo.Data(**arguments)


def test_evaluation_of_other_files_is_refused(images: Path, tmp_path: Path) -> None:
    train, other = ImageFolder(images), ImageFolder(shutil.copytree(images, tmp_path / "validation"))
    with pytest.raises(hpo.InputError, match="other files"):
        hpo.Data(train, evaluation=other)


@pytest.mark.parametrize("how", ["files", "content"])
def test_a_fingerprint_that_cannot_be_had_is_refused(how: str) -> None:
    with pytest.raises(hpo.InputError, match="text that you change"):
        _ = hpo.Data([lambda: 1], fingerprint=how).fingerprint


def broken(examples: list[Any]) -> Any:
    return examples["x"]  # type: ignore[call-overload]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("collate_fn", "words"), [(None, "collate_fn, which"), (broken, "broken.*Tensor")])
def test_a_collate_function_that_fails_is_named(workers: int, collate_fn: Any, words: str) -> None:
    data = hpo.Data([torch.zeros(size) for size in range(1, 9)], collate_fn=collate_fn, workers=workers)
    with pytest.raises(HpoError, match=words):
        list(data.take_each([np.arange(2), np.arange(4), np.arange(6)]))
