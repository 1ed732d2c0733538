"""Table 1: the modified ResNet-18 that maps a Lab frame to one feature for every cell of 4 x 4 pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mamp.model.winograd import use_winograd

STRIDE = 4  # n in the paper
CHANNELS = 64

EncoderFunction = Callable[[Tensor], Tensor]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the shortcut is a 1x1 convolution where the size changes."""

    def __init__(self, *, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.left = nn.Sequential(
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
        left: Tensor = self.left(x)
        return left.add_(self.shortcut(x)).relu_()


class Encoder(nn.Module):
    """Table 1 and a last 3x3 convolution 256 -> 64, as in the authors' code: 5,291,648 parameters.

    Args:
        temperature: ``None`` gives the features as they are (the paper). A number [> 0] gives them unit length, scaled so
            that the dot product over sqrt(c) that matching takes is the cosine over this temperature.
    """

    origin: dict[str, str | None]  # which weights these are, for receipts; set where they are loaded

    def __init__(self, temperature: float | None = None) -> None:
        super().__init__()
        self.temperature = temperature
        self.conv1 = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
        self.layer1 = _layer(64, 64, stride=1)
        self.layer2 = _layer(64, 128, stride=2)
        self.layer3 = _layer(128, 256, stride=1)
        self.layer4 = _layer(256, 256, stride=1)
        self.post_convolution = nn.Conv2d(256, CHANNELS, 3, 1, 1)

    def forward(self, lab: Tensor) -> Tensor:
        """Encodes frames.

        Args:
            lab: Normalised Lab (B, 3, H, W); H and W multiples of 4.

        Returns:
            Features (B, 64, H / 4, W / 4); cell i is centred on pixel 4 i.
        """
        x = self.conv1(lab)  # (B, 64, H/2, W/2)
        x = self.layer1(x)
        x = self.layer2(x)  # (B, 128, H/4, W/4)
        x = self.layer3(x)  # (B, 256, H/4, W/4)
        x = self.layer4(x)
        features: Tensor = self.post_convolution(x)  # (B, 64, H/4, W/4)
        return features if self.temperature is None else unit_length(features, self.temperature)


def _layer(channels_in: int, channels_out: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels_in=channels_in, channels_out=channels_out, stride=stride),
        ResidualBlock(channels_in=channels_out, channels_out=channels_out, stride=1),
    )


def unit_length(features: Tensor, temperature: float) -> Tensor:
    """Scales features (B, C, h, w) so that their dot product over sqrt(C) is the cosine over ``temperature``."""
    return F.normalize(features, dim=1) * math.sqrt(math.sqrt(features.shape[1]) / temperature)


def optimize_for_inference(encoder: Encoder) -> Encoder:
    """The same encoder, faster: each batch norm within its convolution, and what suits the device."""
    _fold_batch_norm(encoder)
    device = next(encoder.parameters()).device
    if device.type == "cpu" and not has_bfloat16(device):
        use_winograd(encoder)
    return to_channels_last(encoder)


def _fold_batch_norm(encoder: Encoder) -> None:
    """Folds every batch norm into the convolution before it: the same numbers with half the passes over memory."""
    for module in list(encoder.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            convolution, norm = module[index], module[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index], module[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()


def to_channels_last(encoder: Encoder) -> Encoder:
    """Lays the weights out channels last: a third faster on a CPU."""
    moved: Encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def device_of(encoder: EncoderFunction) -> torch.device:
    """Where an encoder runs; the CPU, if it has no weights to say it."""
    if isinstance(encoder, nn.Module):
        return next(encoder.parameters()).device
    return torch.device("cpu")


@cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are faster on this device: twice as fast where its instructions know it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (cpu_supports("avx512_bf16") or cpu_supports("amx_bf16"))


def cpu_supports(instructions: str) -> bool:
    """Whether the CPU has these instructions, by PyTorch's name of them; an older PyTorch cannot tell and says no."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get(instructions, False)
