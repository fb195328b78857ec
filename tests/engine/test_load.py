"""The retrained winners, loaded again."""

import json

import pytest
import torch
from helpers import HERE, PBT, RANDOM, document, results, run
from torch_tasks import Blobs

import hpo
from hpo.core.errors import InputError


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return the result of a study of the torch task."""
    arms = (
        RANDOM,
        {**PBT, "perturbation_interval": 0.5},
        *({"label": replay, "derived_from": "pbt", "replay": replay} for replay in ("shuffled", "constant_best")),
    )
    small = document({"name": "blobs"}, arms=arms, seeds=[3, 5], population_size=3, budget=1, interval=0.5)
    del small["study"]["replicates"]
    small["arms"][1]["selection"] = {"name": "exploit_best"}
    return run(small, tmp_path_factory.mktemp("models") / "run")


@pytest.fixture
def from_anywhere(monkeypatch):
    """Stand where the task's module lies, as `load_model` looks for it there."""
    monkeypatch.chdir(HERE)


@pytest.mark.usefixtures("from_anywhere")
@pytest.mark.parametrize("label", ["random", "pbt", "shuffled", "constant_best"])
@pytest.mark.parametrize("seed", [3, 5])
def test_a_loaded_model_has_exactly_the_test_error_of_the_results(found, label, seed):
    model = hpo.load_model(found.run_dir, label, seed)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    data = Blobs().test_data()
    with torch.inference_mode():
        wrong = int((model(data.inputs).argmax(1) != data.targets).sum())
    test = results(found.run_dir)["replicates"][[3, 5].index(seed)]["arms"][label]["test"]
    assert wrong == test["error_count"]
    assert wrong / len(data) == test["error"]
    again = found.model(label, seed)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("from_anywhere")
@pytest.mark.parametrize(("label", "seed"), [("pbt", 4), ("ptb", 3), ("", 3)])
def test_an_arm_or_seed_that_is_not_there_is_named_with_those_that_are(found, label, seed):
    """Fault 45: `load_model` with other names."""
    with pytest.raises(InputError) as raised:
        hpo.load_model(found.run_dir, label, seed)
    assert f"no finished arm {label!r} with seed {seed}" in str(raised.value)
    assert all(f"'{arm}'" in str(raised.value) for arm in ("random", "pbt", "shuffled"))
    assert "the seeds 3, 5" in str(raised.value)
    assert ("did you mean 'pbt'" in str(raised.value)) == (label == "ptb")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"results\.json"):
        hpo.load_model(tmp_path, "pbt", 0)
    (tmp_path / "results.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(InputError, match="schema_version = 99: this version of hpo reads 3 and 4"):
        hpo.load_model(tmp_path, "pbt", 0)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(InputError, match=r"results\.json"):
        hpo.load_model(tmp_path, "pbt", 0)


@pytest.mark.usefixtures("from_anywhere")
def test_a_missing_or_damaged_model_file_is_named(found):
    path = found.run_dir / "models" / "pbt-3.safetensors"
    data = path.read_bytes()
    try:
        path.write_bytes(data[:100])
        with pytest.raises(InputError, match=r"pbt-3\.safetensors"):
            hpo.load_model(found.run_dir, "pbt", 3)
        path.unlink()
        with pytest.raises(InputError, match=r"pbt-3\.safetensors is missing; run the study again"):
            hpo.load_model(found.run_dir, "pbt", 3)
    finally:
        path.write_bytes(data)
