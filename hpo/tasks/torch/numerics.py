"""The modes that PyTorch computes in, and the fingerprint of everything that the bits of its results depend on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def flushes_denormals() -> bool:
    """Say whether this thread flushes denormal numbers to zero now."""
    return float(torch.tensor(1e-30) * torch.tensor(1e-10)) == 0.0


@contextmanager
def strict_scope(threads: int, cuda: bool) -> Iterator[None]:
    """Hold PyTorch to a number of threads, denormals flushed to zero and, on CUDA, deterministic algorithms without TF32.

    Args:
        threads: how many.
        cuda: whether the task runs on CUDA.
    """
    before, flushed = torch.get_num_threads(), flushes_denormals()
    strict = torch.are_deterministic_algorithms_enabled()
    backends = torch.backends
    modes = (backends.cudnn.benchmark, backends.cudnn.deterministic)
    tf32 = (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if cuda:
        # cuBLAS reads it when it starts; without it, deterministic algorithms are refused.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
        backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)
        if cuda:
            torch.use_deterministic_algorithms(strict)
            backends.cudnn.benchmark, backends.cudnn.deterministic = modes
            backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = tf32


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
    return found
