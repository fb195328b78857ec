"""A convolution, max-pooling and ReLU in one: the same function as PyTorch's three, and the same gradients."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, relu

from hpo.tasks.images.convolution import conv_pool_relu

SHAPES = [
    (3, 1, 28, 10, 5),
    (1, 1, 28, 10, 5),
    (5, 10, 12, 20, 5),
    (2, 3, 10, 7, 3),
    (2, 6, 10, 5, 3),
    (1, 1, 4, 1, 1),
    (2, 5, 3, 2, 1),
]
"""Examples, input channels, height and width, output channels, size of the kernel; the last is not of the fast path."""
BITS = """
import hashlib, torch
from hpo.tasks.images.mnist import Mnist
from hpo.tasks.images.convolution import conv_pool_relu
torch.manual_seed(0)
shapes = {(8, 1, 28, 28): (10, 1, 5, 5), (8, 10, 12, 12): (20, 10, 5, 5)}
found = b""
for images, kernels in shapes.items():
    x, weight, bias = torch.randn(images), torch.randn(kernels).requires_grad_(), torch.randn(kernels[0])
    with Mnist().numerics_scope():
        out = conv_pool_relu(x, weight, bias)
        out.square().sum().backward()
    found += out.detach().numpy().tobytes() + weight.grad.numpy().tobytes()
print(hashlib.sha256(found).hexdigest())
"""


def separate(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return relu(max_pool2d(conv2d(x, weight, bias), 2))


def with_gradients(function, tensors, upstream):
    inputs = [tensor.clone().requires_grad_() for tensor in tensors]
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, upstream)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("n", "channels", "side", "out", "size"), SHAPES)
def test_whole_numbers_give_the_same_bits_ties_included(n, channels, side, out, size, layout):
    # Sums of small whole numbers are exact in any order; most squares have several maxima, many of them zero.
    rng = torch.Generator().manual_seed(n)
    shapes = ((n, channels, side, side), (out, channels, size, size))
    x, weight = (torch.randint(-1, 2, shape, generator=rng).float().to(memory_format=layout) for shape in shapes)
    bias = torch.randint(-2, 3, (out,), generator=rng).float()
    half = (side - size + 1) // 2
    upstream = torch.randint(-3, 4, (n, out, half, half), generator=rng).float()
    ours = with_gradients(conv_pool_relu, (x, weight, bias), upstream)
    theirs = with_gradients(separate, (x, weight, bias), upstream)
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize(("n", "channels", "side", "out", "size"), SHAPES)
def test_other_numbers_differ_by_rounding(n, channels, side, out, size):
    torch.manual_seed(n)
    x, weight, bias = torch.randn(n, channels, side, side), torch.randn(out, channels, size, size), torch.randn(out)
    half = (side - size + 1) // 2
    upstream = torch.randn(n, out, half, half)
    ours = with_gradients(conv_pool_relu, (x, weight, bias), upstream)
    doubles = [tensor.double() for tensor in (x, weight, bias)]
    for mine, exact in zip(ours, with_gradients(separate, doubles, upstream.double()), strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-4)


def test_double_precision_is_not_lost():
    x, weight, bias = (torch.randn(*shape, dtype=torch.float64) for shape in [(2, 1, 8, 8), (3, 1, 5, 5), (3,)])
    assert torch.equal(conv_pool_relu(x, weight, bias), separate(x, weight, bias))


@pytest.mark.parametrize("channels", [1, 10])
def test_a_layer_may_have_no_bias(channels):
    rng = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randint(-1, 2, shape, generator=rng).float() for shape in ((2, channels, 12, 12), (10, channels, 5, 5))
    )
    upstream = torch.randint(-3, 4, (2, 10, 4, 4), generator=rng).float()
    ours = with_gradients(partial(conv_pool_relu, bias=None), (x, weight), upstream)
    theirs = with_gradients(partial(separate, bias=None), (x, weight), upstream)
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.slow
def test_the_gradients_are_right_on_a_plain_processor():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "same_bits_ties", __file__]
    subprocess.run(command, env=os.environ | {"ATEN_CPU_CAPABILITY": "default"}, check=True, capture_output=True)


@pytest.mark.slow
def test_the_bits_are_the_same_in_other_processes():
    runs = [subprocess.run([sys.executable, "-c", BITS], capture_output=True, text=True, check=True) for _ in range(2)]
    assert len({run.stdout for run in runs}) == 1
    assert len(runs[0].stdout.strip()) == 64
