"""A function that returns what its process may use."""

import os
from typing import Any

import torch
from threadpoolctl import threadpool_info


def seen(hparams: Any) -> dict[str, float]:
    """Return the numbers of threads, by library and in the environment, and the number of GPUs."""
    pools = [pool["num_threads"] for pool in threadpool_info()]
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return {
        "value": hparams["x"],
        "fewest": min(pools),
        "most": max(pools),
        "torch": torch.get_num_threads(),
        "variable": int(os.environ.get("OMP_NUM_THREADS", 0)),
        "gpus": len(gpus.split(",")) if gpus else 0,
    }
