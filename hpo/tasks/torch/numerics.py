"""The modes that PyTorch computes in, and the fingerprint of everything that the bits of its results depend on."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import field
from typing import Any

import torch

from hpo.core.task import NUMERIC

_MOST_PROGRAMS = 10_000


def setting(default: Any) -> Any:
    """Return the field of an option that a task's `numerics` declares; with the default it changes no fingerprint."""
    return field(default=default, kw_only=True, metadata={NUMERIC: True})


def flushes_denormals() -> bool:
    """Say whether this thread flushes denormal numbers to zero now."""
    return float(torch.tensor(1e-30) * torch.tensor(1e-10)) == 0.0


@contextmanager
def strict_scope(threads: int, cuda: bool, *, tf32: bool = False, deterministic: bool = True) -> Iterator[None]:
    """Hold PyTorch to a number of threads, denormals flushed to zero and, on CUDA, the kernels that a task allows.

    Args:
        threads: how many.
        cuda: whether the task runs on CUDA.
        tf32: allow TF32 on CUDA.
        deterministic: use deterministic algorithms on CUDA; otherwise those that PyTorch chooses by default.
    """
    before, flushed = torch.get_num_threads(), flushes_denormals()
    strict = torch.are_deterministic_algorithms_enabled()
    backends = torch.backends
    modes = (backends.cudnn.benchmark, backends.cudnn.deterministic)
    tf32_before = (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if cuda:
        # cuBLAS reads it when it starts; without it, deterministic algorithms are refused.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, deterministic
        backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)
        if cuda:
            torch.use_deterministic_algorithms(strict)
            backends.cudnn.benchmark, backends.cudnn.deterministic = modes
            backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = tf32_before


def fingerprint(device: str, memory_format: torch.memory_format, threads: int) -> dict[str, str]:
    """Return what the bits of a result depend on, inside `strict_scope`: version, device, instruction set, threads, modes."""
    found = {
        "torch": str(torch.__version__),
        "device": torch.device(device).type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(threads),
        "denormals": "flushed" if flushes_denormals() else "kept",
        "memory_format": str(memory_format).removeprefix("torch."),
        "compile": "off",
    }
    if found["device"] == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        found |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name(device)}
        found["gpu_capability"] = f"{major}.{minor}"
        if torch.backends.cuda.matmul.allow_tf32:
            found["tf32"] = "on"
        if not torch.are_deterministic_algorithms_enabled():
            found["algorithms"] = "any"
    return found


def unlimited_programs() -> AbstractContextManager[None]:
    """Return a context in which `torch.compile` compiles as many variants of a model as members need.

    By default the ninth one runs uncompiled, without a word, so that a result would depend on what its process has compiled before.
    """
    import torch._dynamo as dynamo  # takes a second

    limit = "recompile_limit" if hasattr(dynamo.config, "recompile_limit") else "cache_size_limit"
    limits = {limit: _MOST_PROGRAMS, f"accumulated_{limit}": _MOST_PROGRAMS, "fail_on_recompile_limit_hit": True}
    return dynamo.config.patch(limits)  # type: ignore[no-any-return]
