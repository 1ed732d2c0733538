"""The encoder: maps a Lab frame to one feature for every cell of 4 x 4 pixels. Table 1, or a smaller one."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mamp.model.winograd import use_winograd

STRIDE = 4  # n in the paper
CHANNELS = 64
TABLE_1 = ((64, 2, 1), (128, 2, 2), (256, 2, 1), (256, 2, 1))  # channels, residual blocks and stride of each layer
DEPTH = 3  # residual blocks of a small encoder, unless its weights say otherwise

EncoderFunction = Callable[[Tensor], Tensor]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the shape changes."""

    def __init__(self, *, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_out, H / stride, W / stride)."""
        residual: Tensor = self.residual(x)
        return residual.add_(self.shortcut(x)).relu_()


class Encoder(nn.Module):
    """Residual network of Table 1, or a smaller one, for CPUs.

    Table 1 with a last 3x3 convolution 256 -> 64, as in the reference implementation, has 5,291,648 parameters. A small
    encoder has a 7x7 convolution with stride 2 to half its width, residual blocks of its width, the first with stride 2,
    and the same last convolution.

    Args:
        temperature: ``None`` for raw features, as in the paper. With a number [> 0], features have unit length times a
            factor, so that the similarity of matching, the dot product over sqrt(C), is the cosine over the temperature.
        width: Channels of the residual blocks of a small encoder, a multiple of 8 [16, 1024]; ``None`` for Table 1.
        depth: Number of its residual blocks [1, 64]; Table 1 has eight in any case.

    Raises:
        ValueError: The width or the depth is out of its range.
    """

    origin: dict[str, str | None]  # name and hash of the weights, for receipts; set by load_encoder

    def __init__(self, temperature: float | None = None, *, width: int | None = None, depth: int = DEPTH) -> None:
        super().__init__()
        if width is not None and not (width in range(16, 1025, 8) and depth in range(1, 65)):
            raise ValueError(f"width must be 16, 24, ... or 1024, and depth from 1 to 64, not {width} and {depth}")
        self.temperature, self.width, self.depth = temperature, width, depth
        stem, layers = (64, TABLE_1) if width is None else (width // 2, ((width, depth, 2),))
        self.conv1 = nn.Sequential(nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True))
        self.layers: list[str] = []
        channels = stem
        for number, (channels_out, blocks, stride) in enumerate(layers, start=1):
            self.layers.append(f"layer{number}")
            self.add_module(self.layers[-1], _layer(channels, channels_out, blocks=blocks, stride=stride))
            channels = channels_out
        self.post_convolution = nn.Conv2d(channels, CHANNELS, 3, 1, 1)

    @property
    def architecture(self) -> str:
        """The architecture in words, for receipts."""
        return "Table 1" if self.width is None else f"width {self.width}, depth {self.depth}"

    def forward(self, lab: Tensor) -> Tensor:
        """Computes the features of frames.

        Args:
            lab: Normalized Lab (B, 3, H, W); H and W multiples of 4.

        Returns:
            Features (B, 64, H / 4, W / 4); cell i is centered on pixel 4 i.
        """
        x = self.conv1(lab)  # (B, stem, H/2, W/2)
        for name in self.layers:
            x = self.get_submodule(name)(x)
        features: Tensor = self.post_convolution(x)  # (B, 64, H/4, W/4)
        return features if self.temperature is None else unit_length(features, self.temperature)


def _layer(channels_in: int, channels_out: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(channels_in=channels_in, channels_out=channels_out, stride=stride)
    others = (ResidualBlock(channels_in=channels_out, channels_out=channels_out, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)


def unit_length(features: Tensor, temperature: float) -> Tensor:
    """Scales features (B, C, h, w) so that their dot product over sqrt(C) is their cosine over ``temperature``."""
    return F.normalize(features, dim=1) * math.sqrt(math.sqrt(features.shape[1]) / temperature)


def optimize_for_inference(encoder: Encoder) -> Encoder:
    """Folds batch norm, picks the fastest convolutions for the device and the channels-last layout; same features."""
    _fold_batch_norm(encoder)
    device = next(encoder.parameters()).device
    if device.type == "cpu" and not has_bfloat16(device):
        use_winograd(encoder)
    return to_channels_last(encoder)


def _fold_batch_norm(encoder: Encoder) -> None:
    """Folds every batch norm into the convolution before it: same result, half the memory traffic."""
    for module in list(encoder.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            convolution, norm = module[index], module[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index], module[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()


def to_channels_last(encoder: Encoder) -> Encoder:
    """Converts the weights to the channels-last layout: a third faster on a CPU."""
    converted: Encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted


def half_precision(encoder: EncoderFunction) -> EncoderFunction:
    """An encoder with float16 weights and activations, cast once; one without weights as it is.

    A convolution of autocast casts its weights at each call, and some GPUs have no bfloat16. Features in float16 are nearer
    to those in single precision, too.
    """
    if not isinstance(encoder, nn.Module):
        return encoder
    half = deepcopy(encoder).half()
    return lambda lab: half(lab.half())


def device_of(encoder: EncoderFunction) -> torch.device:
    """Device of an encoder; the CPU if it has no weights."""
    if isinstance(encoder, nn.Module):
        return next(encoder.parameters()).device
    return torch.device("cpu")


@cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has bfloat16 instructions, which make convolutions twice as fast."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (cpu_supports("avx512_bf16") or cpu_supports("amx_bf16"))


def cpu_supports(instructions: str) -> bool:
    """Whether the CPU has an instruction set, by PyTorch's name of it; always false on older PyTorch versions."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get(instructions, False)
