"""Settings that change the bits of a result: each is declared in the numerics, and with its default changes no key."""

import os
import warnings

import numpy as np
import pytest
import torch
from helpers import answer, document, results, run
from safetensors.numpy import load_file
from torch import nn
from torch_tasks import Blobs

import hpo
from hpo.core.seeding import forked_generators
from hpo.core.task import Batches, Examples
from hpo.study.identity import task_identity
from hpo.tasks.digits import Digits
from hpo.tasks.loop import LoopTask
from hpo.tasks.torch.numerics import strict_scope, unlimited_programs

SETTINGS = {"tf32", "deterministic", "precision", "compile"}
H = {"lr": 0.1, "momentum": 0.9}


def small(**task):
    return document({"name": "blobs", **task}, replicates=1, budget=2)


def test_settings_are_declared_by_the_numerics_and_are_no_part_of_the_identity():
    plain, changed = Digits(), Digits(tf32=True, deterministic=False, precision="bf16", compile=True)
    assert task_identity(plain, "digits") == task_identity(changed, "digits")
    assert SETTINGS.isdisjoint(task_identity(plain, "digits")["options"])
    assert plain.numerics().keys() == {
        *("numpy", "machine", "device", "torch", "cpu_capability", "threads", "denormals", "memory_format", "compile")
    }
    assert plain.numerics()["compile"] == "off"
    # On a CPU, the two settings of CUDA have no effect.
    assert changed.numerics() == plain.numerics() | {"precision": "bf16", "compile": "inductor"}


def test_settings_of_cuda_are_in_force_inside_the_scope_and_put_back():
    def modes():
        cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        return (
            cuda.allow_tf32,
            cudnn.allow_tf32,
            torch.are_deterministic_algorithms_enabled(),
            cudnn.deterministic,
            cudnn.benchmark,
        )

    before = modes()
    with strict_scope(1, True):
        assert modes() == (False, False, True, True, False)
    with strict_scope(1, True, tf32=True, deterministic=False):
        assert modes() == (True, True, False, False, False)
    assert modes() == before
    assert LoopTask("module:Training", tf32=True).tf32


class Watched(Blobs):
    """Notes the types in which the model and the loss compute."""

    def loss(self, model, inputs, targets):
        outputs = model(inputs)
        loss = nn.functional.cross_entropy(outputs, targets)
        self.seen.append((outputs.dtype, loss.dtype))
        return loss


def test_with_bf16_the_model_computes_in_it_and_its_weights_stay_as_they_are():
    found = {}
    for precision in ("float32", "bf16"):
        task = Watched(precision=precision)
        object.__setattr__(task, "seen", [])
        with task.numerics_scope(), forked_generators(0):
            state = task.train(task.initialize(H), H, Batches(task.development_data(), np.arange(48), 16, 0, 1))
        assert {parameter.dtype for parameter in state.model.parameters()} == {torch.float32}
        found[precision] = [set(kinds) for kinds in zip(*task.seen, strict=True)]
        assert task.evaluate(state, Examples(task.development_data(), np.arange(100))).metrics["loss"] > 0
    assert found == {"float32": [{torch.float32}] * 2, "bf16": [{torch.bfloat16}, {torch.float32}]}


def test_a_study_in_bf16_has_the_same_answer_in_this_process_and_in_workers(tmp_path):
    run(small(), tmp_path / "float32")
    run(small(precision="bf16"), tmp_path / "serial")
    run(small(precision="bf16"), tmp_path / "process", executor="process", workers=2)
    assert answer(tmp_path / "serial") == answer(tmp_path / "process")
    assert results(tmp_path / "serial")["environment"]["numerics"]["precision"] == "bf16"
    values = [_validation(tmp_path / name) for name in ("float32", "serial")]
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], abs=0.1)
    with pytest.raises(hpo.InputError, match=r"numerics\.precision: bf16 -> \(absent\)"):
        run(small(), tmp_path / "serial")


def _validation(run_dir):
    (replicate,) = results(run_dir)["replicates"]
    return [arm["validation"]["loss"] for arm in replicate["arms"].values()]


@pytest.mark.slow
def test_a_compiled_study_has_the_same_answer_in_this_process_and_in_workers(tmp_path):
    """Four processes compile, each a program for the batches, the short last one, and both evaluations."""
    run(small(dropout=0.0), tmp_path / "plain")
    run(small(dropout=0.0, compile=True), tmp_path / "serial")
    run(small(dropout=0.0, compile=True), tmp_path / "process", executor="process", workers=2)
    assert answer(tmp_path / "serial") == answer(tmp_path / "process")
    assert results(tmp_path / "serial")["environment"]["numerics"]["compile"] == "inductor"
    assert _validation(tmp_path / "plain") == pytest.approx(_validation(tmp_path / "serial"), rel=1e-3)
    names = [load_file(tmp_path / name / "models" / "pbt-0.safetensors").keys() for name in ("plain", "serial")]
    assert names[0] == names[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = hpo.load_model(tmp_path / "serial", "pbt", 0)
    assert model(torch.zeros(2, 8)).shape == (2, 3)


def test_as_many_variants_of_a_model_are_compiled_as_there_are():
    programs = []

    def backend(graph, inputs):
        programs.append(graph)
        return graph.forward

    with unlimited_programs():
        for width in range(1, 20):
            model = nn.Sequential(nn.Linear(2, width), nn.Dropout(width / 100))
            model.compile(backend=backend, dynamic=False)
            model(torch.zeros(3, 2))
    assert len(programs) == 19  # without the scope, only the first eight


def test_stacks_refuse_what_they_cannot_do(tmp_path):
    for task in ({"precision": "bf16"}, {"compile": True}):
        with pytest.raises(hpo.InputError, match="cannot be stacked"):
            run(document({"name": "digits", **task}, replicates=1), tmp_path, executor="stacked")


@hpo.register_task("noisy")
class Noisy(Blobs):
    """Trains as kernels do that are not deterministic."""

    def training_step(self, state, inputs, targets):
        loss = super().training_step(state, inputs, targets)
        with torch.no_grad():
            state.model[0].bias += int.from_bytes(os.urandom(2), "little") * 1e-9
        return loss


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_task_that_says_that_it_is_not_deterministic_is_not_warned_about_it(tmp_path, deterministic):
    study = small(name="noisy", deterministic=deterministic)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(study, tmp_path)
    said = [str(each.message) for each in caught if "gave two results" in str(each.message)]
    assert len(said) == deterministic
    assert len(results(tmp_path)["replicates"]) == 1
