"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin & Gray, CVPR 2016).

For CPUs without fast half precision. Tiles of 6 x 6 pixels and the kernel are transformed so that the convolution becomes
an elementwise product: 36 products instead of 144 for 4 x 4 output pixels. Summing over channels makes each of the 36 a
matrix product over all tiles. The result differs from a direct convolution in the sixth digit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_OUTPUT_TILE, _INPUT_TILE = 4, 6  # sides [pixels]; input tiles overlap
_BLOCK_TILES = 340  # transformed at a time: 12 MB of 256 channels, about the size of the cache; 3 MB of 64
# G of the paper's F(4x4, 3x3); its other two matrices are written out below as sums.
_KERNEL_TRANSFORM = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


class WinogradConvolution(nn.Module):
    """Replaces a 3x3 convolution for inference.

    Args:
        convolution: A convolution with stride 1, padding 1, one group, and a bias.
    """

    kernel: Tensor  # transformed (36, C, K)
    bias: Tensor  # (K,)

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.bias is not None
        weight = convolution.weight.detach()
        transform = weight.new_tensor(_KERNEL_TRANSFORM)
        kernel = torch.kron(transform, transform) @ weight.permute(2, 3, 1, 0).flatten(0, 1).flatten(1)  # (36, C * K)
        self.register_buffer("kernel", kernel.view(_INPUT_TILE * _INPUT_TILE, weight.shape[1], weight.shape[0]))
        self.register_buffer("bias", convolution.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W), channels last in memory."""
        B, C, H, W = x.shape
        K = self.bias.shape[0]
        rows, columns = -(-H // _OUTPUT_TILE), -(-W // _OUTPUT_TILE)
        output = x.new_empty(B, rows, _OUTPUT_TILE, columns, _OUTPUT_TILE, K)
        max_rows = min(rows, max(1, _BLOCK_TILES // columns))
        # Of the larger blocks, the one that computes the fewest rows twice.
        block_rows = min(range(max_rows, max_rows // 2, -1), key=lambda count: -rows % count)
        # Buffers for all blocks: allocating them for each would cost as much as the sums.
        block = x.new_empty(block_rows * _OUTPUT_TILE + 2, W, C)
        lines = x.new_zeros(_INPUT_TILE, block_rows, columns * _OUTPUT_TILE + 2, C)  # the borders stay zero: padding
        tiles = x.new_empty(_INPUT_TILE, _INPUT_TILE, block_rows, columns, C)
        products = x.new_empty(_INPUT_TILE * _INPUT_TILE, block_rows * columns, K)
        half_output = x.new_empty(_OUTPUT_TILE, _INPUT_TILE, block_rows, columns, K)
        for image in range(B):
            for row in range(0, rows, block_rows):
                # The last block may overlap the one before it, so that all have the same shape.
                first = min(row, rows - block_rows)
                padded = _padded_rows(x[image].permute(1, 2, 0), first * _OUTPUT_TILE - 1, block)
                _input_transform(_every_fourth(padded, dim=0), lines[:, :, 1 : W + 1].unbind(0))
                _input_transform(_every_fourth(lines, dim=2), tiles.unbind(1))
                torch.bmm(tiles.view(len(products), -1, C), self.kernel, out=products)
                products[_INPUT_TILE + 1] += self.bias  # the output transform adds this product to every pixel
                _output_transform(
                    products.view(_INPUT_TILE, _INPUT_TILE, block_rows, columns, K).unbind(0), half_output.unbind(0)
                )
                pixels = output[image, first : first + block_rows]  # (block_rows, 4, columns, 4, K)
                _output_transform(half_output.unbind(1), pixels.permute(3, 1, 0, 2, 4).unbind(0))
        return output.view(B, rows * _OUTPUT_TILE, columns * _OUTPUT_TILE, K)[:, :H, :W].permute(0, 3, 1, 2)


def use_winograd(module: nn.Module) -> None:
    """Replaces every suitable convolution in ``module`` by a ``WinogradConvolution``, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and _is_suitable(child):
            setattr(module, name, WinogradConvolution(child))
        else:
            use_winograd(child)


def _is_suitable(convolution: nn.Conv2d) -> bool:
    return (
        (convolution.kernel_size, convolution.stride, convolution.padding) == ((3, 3), (1, 1), (1, 1))
        and (convolution.dilation, convolution.groups) == ((1, 1), 1)
        and convolution.bias is not None
    )


def _padded_rows(frame: Tensor, top: int, block: Tensor) -> Tensor:
    """Rows of a frame (H, W, C) from ``top`` on, as many as ``block`` has: a view, or ``block``, zero outside the frame."""
    height = len(frame)
    first, last = max(top, 0), min(top + len(block), height)
    if last - first == len(block):
        return frame[first:last]
    block[: first - top] = 0
    block[first - top : last - top] = frame[first:last]
    block[last - top :] = 0
    return block


def _every_fourth(x: Tensor, *, dim: int) -> list[Tensor]:
    """The first to the sixth line of every tile, along a dimension of size 4 n + 2: six views of size n."""
    span = x.shape[dim] - _INPUT_TILE + 1  # from a line of the first tile to the same line of the last
    leading = (slice(None),) * dim
    return [x[(*leading, slice(start, start + span, _OUTPUT_TILE))] for start in range(_INPUT_TILE)]


def _input_transform(lines: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """B of the paper along one dimension: six sums of the six lines of each tile."""
    torch.sub(lines[4], lines[2], alpha=5, out=out[0]).add_(lines[0], alpha=4)
    torch.sub(lines[5], lines[3], alpha=5, out=out[5]).add_(lines[1], alpha=4)
    even, odd = torch.sub(lines[4], lines[2], alpha=4), torch.sub(lines[3], lines[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(lines[4], lines[2], out=even)
    torch.sub(lines[3], lines[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])


def _output_transform(sums: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """A of the paper along one dimension: four output lines from six products."""
    even, odd = sums[1] + sums[2], sums[1] - sums[2]
    even_far, odd_far = sums[3] + sums[4], sums[3] - sums[4]
    torch.add(sums[0], even, out=out[0]).add_(even_far)
    torch.add(odd, odd_far, alpha=2, out=out[1])
    torch.add(even, even_far, alpha=4, out=out[2])
    torch.add(odd, odd_far, alpha=8, out=out[3]).add_(sums[5])
