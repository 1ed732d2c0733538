"""Winograd convolutions equal direct ones."""

import pytest
import torch
from torch import nn

from mamp.model import encoder as encoders
from mamp.model import winograd
from mamp.model.checkpoint import load_encoder
from mamp.model.winograd import WinogradConvolution, use_winograd


def convolution(channels_in: int = 5, channels_out: int = 7, **changes: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels_in, channels_out, **{"kernel_size": 3, "padding": 1, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (4, 4), (9, 18), (33, 7)])
@pytest.mark.parametrize("batch", [1, 3])
def test_it_equals_the_convolution_at_any_size(size: tuple[int, int], batch: int) -> None:
    direct = convolution()
    x = torch.randn(batch, 5, *size)
    with torch.inference_mode():
        torch.testing.assert_close(WinogradConvolution(direct)(x), direct(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("block_tiles", [1, 3 * 2])
def test_blocks_of_any_size_join_without_seams(monkeypatch: pytest.MonkeyPatch, block_tiles: int) -> None:
    monkeypatch.setattr(winograd, "_BLOCK_TILES", block_tiles)  # one row of tiles at a time; two of five
    direct = convolution()
    x = torch.randn(1, 5, 20, 12)
    with torch.inference_mode():
        torch.testing.assert_close(WinogradConvolution(direct)(x), direct(x), atol=1e-5, rtol=1e-4)


def test_only_suitable_convolutions_are_replaced() -> None:
    unsuitable = [convolution(stride=2), convolution(padding=0), convolution(bias=False), convolution(dilation=2)]
    model = nn.Sequential(*unsuitable, nn.Sequential(convolution(kernel_size=1, padding=0), convolution()))
    use_winograd(model)
    replaced = [name for name, module in model.named_modules() if isinstance(module, WinogradConvolution)]
    assert replaced == ["4.1"]


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_encoder_uses_it_only_without_bfloat16(monkeypatch: pytest.MonkeyPatch, bfloat16: bool) -> None:
    monkeypatch.setattr(encoders, "has_bfloat16", lambda device: bfloat16)
    encoder, plain = load_encoder(), load_encoder(fold=False)
    assert isinstance(encoder, nn.Module)
    assert any(isinstance(module, WinogradConvolution) for module in encoder.modules()) is not bfloat16
    lab = torch.rand(1, 3, 52, 76)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(lab), plain(lab), atol=0.01, rtol=0.001)
