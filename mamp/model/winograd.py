"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin & Gray, CVPR 2016).

For CPUs that are no faster in half precision. A tile of 6 x 6 pixels and the kernel are each carried to a place where the
convolution is a plain product: 36 products give 16 pixels, which take 144 otherwise. There all tiles of a channel meet
all channels in one matrix product for each of the 36. The sums differ from the usual ones in the sixth digit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_STEP, _REACH = 4, 6  # a tile gives 4 x 4 pixels and sees 6 x 6 [pixels]
_HELD = 3 << 20  # numbers of carried tiles held at a time: 12 MB, about what stays in the cache
# G of the paper's F(4x4, 3x3); its other two matrices are written out below as sums.
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


class WinogradConvolution(nn.Module):
    """What a 3x3 convolution gives, for inference.

    Args:
        convolution: With stride 1, padding 1, one group, and a bias.
    """

    kernel: Tensor  # (36, C, K)
    bias: Tensor  # (K,)

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.bias is not None
        weight = convolution.weight.detach()
        carry = weight.new_tensor(_KERNEL)
        carried = torch.kron(carry, carry) @ weight.permute(2, 3, 1, 0).flatten(0, 1).flatten(1)  # (36, C * K)
        self.register_buffer("kernel", carried.view(_REACH * _REACH, weight.shape[1], weight.shape[0]))
        self.register_buffer("bias", convolution.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W), channels last in memory."""
        B, C, H, W = x.shape
        K = self.bias.shape[0]
        rows, columns = -(-H // _STEP), -(-W // _STEP)
        answer = x.new_empty(B, rows, _STEP, columns, _STEP, K)
        most = min(rows, max(1, _HELD // (_REACH * _REACH * columns * max(C, K))))
        at_once = min(range(most, most // 2, -1), key=lambda count: -rows % count)  # few rows are done twice
        # One buffer for all: fresh memory for each would cost as much as the sums.
        part = x.new_empty(at_once * _STEP + 2, W, C)
        lines = x.new_zeros(_REACH, at_once, columns * _STEP + 2, C)  # what is not written to is the padding
        tiles = x.new_empty(_REACH, _REACH, at_once, columns, C)
        products = x.new_empty(_REACH * _REACH, at_once * columns, K)
        half_back = x.new_empty(_STEP, _REACH, at_once, columns, K)
        for image in range(B):
            for row in range(0, rows, at_once):
                # The last rows may be done twice: so every part has the same shape, and the buffers fit.
                first = min(row, rows - at_once)
                seen = _lines(x[image].permute(1, 2, 0), first * _STEP - 1, part)
                _carry(_every_fourth(seen, dim=0), lines[:, :, 1 : W + 1].unbind(0))
                _carry(_every_fourth(lines, dim=2), tiles.unbind(1))
                torch.bmm(tiles.view(len(products), -1, C), self.kernel, out=products)
                products[_REACH + 1] += self.bias  # what is added to this one is added to every pixel
                _carry_back(products.view(_REACH, _REACH, at_once, columns, K).unbind(0), half_back.unbind(0))
                pixels = answer[image, first : first + at_once]  # (at_once, 4, columns, 4, K)
                _carry_back(half_back.unbind(1), pixels.permute(3, 1, 0, 2, 4).unbind(0))
        return answer.view(B, rows * _STEP, columns * _STEP, K)[:, :H, :W].permute(0, 3, 1, 2)


def use_winograd(module: nn.Module) -> None:
    """Puts ``WinogradConvolution`` in the place of every convolution within ``module`` that it can stand for."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and _can_stand_for(child):
            setattr(module, name, WinogradConvolution(child))
        else:
            use_winograd(child)


def _can_stand_for(convolution: nn.Conv2d) -> bool:
    return (
        (convolution.kernel_size, convolution.stride, convolution.padding) == ((3, 3), (1, 1), (1, 1))
        and (convolution.dilation, convolution.groups) == ((1, 1), 1)
        and convolution.bias is not None
    )


def _lines(frame: Tensor, top: int, part: Tensor) -> Tensor:
    """Lines of a frame (H, W, C) from ``top`` on, as many as a part has: a view, or the part, with zeros where it ends."""
    height = len(frame)
    first, last = max(top, 0), min(top + len(part), height)
    if last - first == len(part):
        return frame[first:last]
    part[: first - top] = 0
    part[first - top : last - top] = frame[first:last]
    part[last - top :] = 0
    return part


def _every_fourth(x: Tensor, *, dim: int) -> list[Tensor]:
    """The first to the sixth line of every tile, along a dimension of 4 n + 2 lines: six views of n lines."""
    span = x.shape[dim] - _REACH + 1  # from a line of the first tile to that of the last
    before = (slice(None),) * dim
    return [x[(*before, slice(start, start + span, _STEP))] for start in range(_REACH)]


def _carry(lines: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """The paper's B, for one direction: six sums of the six lines of each tile."""
    torch.sub(lines[4], lines[2], alpha=5, out=out[0]).add_(lines[0], alpha=4)
    torch.sub(lines[5], lines[3], alpha=5, out=out[5]).add_(lines[1], alpha=4)
    even, odd = torch.sub(lines[4], lines[2], alpha=4), torch.sub(lines[3], lines[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(lines[4], lines[2], out=even)
    torch.sub(lines[3], lines[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])


def _carry_back(sums: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """The paper's A, for one direction: four lines of pixels from six products."""
    even, odd = sums[1] + sums[2], sums[1] - sums[2]
    even_far, odd_far = sums[3] + sums[4], sums[3] - sums[4]
    torch.add(sums[0], even, out=out[0]).add_(even_far)
    torch.add(odd, odd_far, alpha=2, out=out[1])
    torch.add(even, even_far, alpha=4, out=out[2])
    torch.add(odd, odd_far, alpha=8, out=out[3]).add_(sums[5])
