"""The modes in which PyTorch computes: part of what the bits of a result depend on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def flushes_denormals() -> bool:
    """Say whether this thread flushes denormal numbers to zero now."""
    return float(torch.tensor(1e-30) * torch.tensor(1e-10)) == 0.0


@contextmanager
def strict_scope(cuda: bool) -> Iterator[None]:
    """Hold PyTorch to one thread, denormals flushed to zero and, on CUDA, deterministic algorithms without TF32.

    Args:
        cuda: whether it is CUDA that computes.
    """
    threads, flushed = torch.get_num_threads(), flushes_denormals()
    strict = torch.are_deterministic_algorithms_enabled()
    backends = torch.backends
    modes = (backends.cudnn.benchmark, backends.cudnn.deterministic)
    tf32 = (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32)
    torch.set_num_threads(1)
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
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
        if cuda:
            torch.use_deterministic_algorithms(strict)
            backends.cudnn.benchmark, backends.cudnn.deterministic = modes
            backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = tf32
