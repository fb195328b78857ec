"""A convolution, 2 × 2 max-pooling and ReLU as one matrix product: the same function as PyTorch's three, faster on a CPU.

PyTorch's CPU kernels leave half of the processor idle on small nets: with 10 or 20 channels a convolution fills its vector
registers badly, and `max_pool2d` has no vectors below 16 channels at all. Here one row of a matrix holds a window of the
input, just large enough for a *tile* of 2 × 2a neighbouring outputs. A second matrix holds the kernel once for each of the
tile's outputs, shifted to its place. One product of the two computes all outputs. Then

- a tile's 2 × 2 squares are adjacent in memory, and pooling is two `maximum`s of long vectors;
- the product is oneDNN's, which uses the whole width of the vectors. (PyTorch's `mm` is MKL's, half as fast on AMD.)

A wider tile multiplies by more zeros, and copies less of the input: a = 2 pays with few input channels.
"""

from functools import cache, reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, max_pool2d, relu

FEW_CHANNELS = 4
"""Up to this many input channels a tile is 2 × 4 outputs, otherwise 2 × 2."""


def conv_pool_relu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `relu(max_pool2d(conv2d(x, weight, bias), 2))` and its gradients, up to rounding.

    Where a square has several maxima, the gradient goes to the first, row by row, as in `max_pool2d`. On a CPU the result has
    the layout channels_last. Devices, types and shapes that the fast path does not support use PyTorch's own three functions.

    Args:
        x: shape (n, in, height, width).
        weight: shape (out, in, k, k).
        bias: shape (out,), or None.

    Returns:
        Shape (n, out, (height - k + 1) / 2, (width - k + 1) / 2), rounded down.
    """
    size = weight.shape[-1]
    across = 2 if x.shape[1] <= FEW_CHANNELS else 1
    height, width = x.shape[2] - size + 1, x.shape[3] - size + 1
    fits = height % 2 == 0 and width % (2 * across) == 0 and weight.shape[-2] == size and size % 2 == 1 and len(x) > 0
    if not (fits and _has_onednn(x, weight, bias)):
        return relu(max_pool2d(conv2d(x, weight, bias), 2))
    return _ConvPoolReLU.apply(x, weight, bias, across)  # type: ignore[no-any-return]


class _ConvPoolReLU(torch.autograd.Function):
    """The fast path.

    The product has a row for each tile, m = n · (height / 2) · (width / 2a) of them. Its columns are ordered by the side of
    the square (left, right), then its line (above, below), the square in the tile, and the channel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, across: int) -> Tensor:
        channels, _, size, _ = weight.shape
        windows = _windows(x.permute(0, 2, 3, 1), size, across)
        n, rows, columns = windows.shape[:3]
        flat = windows.flatten(0, 2)
        kernels = _kernels(weight, across)
        product = _product(flat, kernels, bias if bias is None else torch.cat((bias,) * (4 * across)))
        # Left and right first, then above and below: the order of `max_pool2d` if there are several maxima.
        sides = torch.maximum(*product.view(-1, 2, 2 * across * channels).unbind(1))
        pooled = torch.maximum(*sides.view(-1, 2, across * channels).unbind(1)).clamp_(min=0)
        ctx.save_for_backward(flat, kernels, product, sides, pooled)
        ctx.sizes = (x.shape, weight.shape, windows.shape, across)
        return pooled.view(n, rows, columns * across, channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        flat, kernels, product, sides, pooled = ctx.saved_tensors
        x_shape, weight_shape, windows_shape, across = ctx.sizes
        by_tile = gradient.permute(0, 2, 3, 1).contiguous().view_as(pooled)
        to_pooled = torch.ops.aten.threshold_backward(by_tile, pooled, 0)
        to_sides = _to_maximum(to_pooled, sides)
        to_product = _to_maximum(to_sides, product)
        to_bias = to_pooled.view(-1, weight_shape[0]).sum(0) if ctx.needs_input_grad[2] else None
        to_weight = None
        if ctx.needs_input_grad[1]:
            to_weight = _sum_of_kernels(_outer(to_product, flat, len(gradient)), weight_shape, across)
        if not ctx.needs_input_grad[0]:
            return None, to_weight, to_bias, None
        to_windows = _product(to_product, kernels.t()).view(windows_shape)
        return _sum_of_windows(to_windows, x_shape, weight_shape[-1], across), to_weight, to_bias, None


def _windows(x: Tensor, size: int, across: int) -> Tensor:
    """Return the windows of all tiles, copied: x, shape (n, h, w, in), to (n, rows, columns, (size + 1) · (size + 2a - 1) · in)."""
    n, height, width, channels = x.shape
    rows, columns = (height - size + 1) // 2, (width - size + 1) // (2 * across)
    long = (size + 2 * across - 1) * channels
    strides = (height * width * channels, 2 * across * channels, width * channels, 1)
    # Bands of a window's width first: in them each window is contiguous.
    bands = x.contiguous().as_strided((n, columns, height, long), strides).contiguous()
    strides = (columns * height * long, 2 * long, height * long, 1)
    return bands.as_strided((n, rows, columns, (size + 1) * long), strides).contiguous()


def _sum_of_windows(windows: Tensor, shape: torch.Size, size: int, across: int) -> Tensor:
    """Return the transpose of `_windows`: each element of x, shape (n, in, h, w), is the sum of its copies."""
    n, channels, height, width = shape
    rows, columns = windows.shape[1:3]
    pairs = windows.view(n, rows, columns, (size + 1) // 2, -1).transpose(1, 2)  # a window's lines, two by two
    bands = windows.new_empty(n, columns, height // 2, pairs.shape[-1])
    bands[:, :, :rows] = pairs[:, :, :, 0]
    bands[:, :, rows:] = 0
    for i in range(1, pairs.shape[3]):
        bands[:, :, i : i + rows].add_(pairs[:, :, :, i])
    bands = bands.view(n, columns, height, -1)
    long = bands.shape[-1]
    x = windows.new_empty(n, height, width * channels)
    x[:, :, :long] = bands[:, 0]
    x[:, :, long:] = 0
    for j in range(1, columns):
        start = j * 2 * across * channels
        x[:, :, start : start + long].add_(bands[:, j])
    return x.view(n, height, width, channels).permute(0, 3, 1, 2)


def _kernels(weight: Tensor, across: int) -> Tensor:
    """Return the kernel at each of a tile's outputs, zeros around it: shape (4a · out, window)."""
    channels, inputs, size, _ = weight.shape
    kernels = weight.new_zeros(4 * across * channels, (size + 1) * (size + 2 * across - 1) * inputs)
    _placed(kernels, weight.shape, across).copy_(weight.permute(0, 2, 3, 1).reshape(channels, size, -1))
    return kernels


def _sum_of_kernels(kernels: Tensor, shape: torch.Size, across: int) -> Tensor:
    """Return the transpose of `_kernels`: a weight is the sum of its copies."""
    channels, inputs, size, _ = shape
    copies = _placed(kernels.contiguous(), shape, across)
    for _ in range(3):
        copies = reduce(torch.add, copies.unbind())
    return copies.view(channels, size, size, inputs).permute(0, 3, 1, 2)


def _placed(kernels: Tensor, shape: torch.Size, across: int) -> Tensor:
    """Return a view of the kernels where they lie in their windows: shape (2 sides, 2 rows, a squares, out, k, k · in)."""
    channels, inputs, size, _ = shape
    row = (size + 2 * across - 1) * inputs
    output = (size + 1) * row * channels
    strides = (2 * across * output + inputs, across * output + row, output + 2 * inputs, output // channels, row, 1)
    return kernels.as_strided((2, 2, across, channels, size, size * inputs), strides)


def _to_maximum(gradient: Tensor, inputs: Tensor) -> Tensor:
    """Return the gradient of the inputs of `maximum`, shape (m, 2c), the two side by side; equal ones: to the first."""
    first, second = inputs.view(len(gradient), 2, -1).unbind(1)
    found = torch.empty_like(inputs)
    to_first, to_second = found.view(len(gradient), 2, -1).unbind(1)
    torch.gt(second, first, out=to_second)  # 1 or 0 as a float: one step with vectors, which a bool mask is not
    to_second.mul_(gradient)
    torch.sub(gradient, to_second, out=to_first)
    return found


def _product(rows: Tensor, columns: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows · columnsᵀ + bias, computed by oneDNN: shapes (m, k) and (n, k) to (m, n)."""
    return torch.ops.mkldnn._linear_pointwise(rows, columns, bias, "none", [], "")  # type: ignore[no-any-return]


def _outer(left: Tensor, right: Tensor, images: int) -> Tensor:
    """Return leftᵀ · right: shapes (m, k) and (m, n) to (k, n), where m is the rows of so many images."""
    if left.shape[1] <= right.shape[1]:
        return _product(left.t(), right.t())
    if not _has_avx512():
        return _product(right.t(), left.t()).t()  # faster with the narrower one first
    # The gradient of the weights of a 1 × 1 convolution: the same numbers, and no copy of `right`, transposed, is made.
    outputs, inputs = (each.view(images, -1, 1, each.shape[1]).permute(0, 3, 1, 2) for each in (left, right))
    weight = left.new_empty(left.shape[1], right.shape[1], 1, 1)
    options = (None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (False, True, False))
    return torch.ops.aten.convolution_backward(outputs, inputs, weight, *options)[1].flatten(1)  # type: ignore[no-any-return]


@cache
def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def _has_onednn(*tensors: Tensor | None) -> bool:
    given = [tensor for tensor in tensors if tensor is not None]
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in given)
    return plain and torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
