"""RAFT (Teed and Deng, ECCV 2020), small and large, for inference with the published weights.

Modules are named as in the original weights, which load unchanged; torchvision's parameter names are mapped to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

LEVELS = 4  # of the correlation pyramid
_STRIDE = 8  # RAFT works at an eighth of the resolution


class RaftError(ValueError):
    """A file does not contain RAFT's weights; the message is one sentence for the user."""


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.Identity()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (RAFT large)."""

    def __init__(self, *, channels_in: int, channels_out: int, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1)
        self.norm1, self.norm2 = _norm(norm, channels_out), _norm(norm, channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.norm3 = _norm(norm, channels_out)
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.downsample(x) + y)


class BottleneckBlock(nn.Module):
    """A 3x3 convolution between two 1x1 convolutions, with a quarter of the channels (RAFT small)."""

    def __init__(self, *, channels_in: int, channels_out: int, norm: str, stride: int) -> None:
        super().__init__()
        inner = channels_out // 4
        self.conv1 = nn.Conv2d(channels_in, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1)
        self.conv3 = nn.Conv2d(inner, channels_out, 1)
        self.norm1, self.norm2, self.norm3 = _norm(norm, inner), _norm(norm, inner), _norm(norm, channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.norm4 = _norm(norm, channels_out)
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride), self.norm4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = F.relu(self.norm3(self.conv3(y)))
        return F.relu(self.downsample(x) + y)


class FeatureEncoder(nn.Module):
    """Maps an image (B, 3, H, W) to features (B, channels, H / 8, W / 8)."""

    def __init__(
        self, *, block: type[ResidualBlock] | type[BottleneckBlock], widths: tuple[int, ...], channels: int, norm: str
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3)
        self.norm1 = _norm(norm, widths[0])
        layers, width_in = [], widths[0]
        for width, stride in zip(widths, (1, 2, 2), strict=True):
            layers.append(
                nn.Sequential(
                    block(channels_in=width_in, channels_out=width, norm=norm, stride=stride),
                    block(channels_in=width, channels_out=width, norm=norm, stride=1),
                )
            )
            width_in = width
        self.layer1, self.layer2, self.layer3 = layers
        self.conv2 = nn.Conv2d(width_in, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(image)))
        features: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return features


class MotionEncoder(nn.Module):
    """Maps correlation and flow to motion features; the last two channels are the flow itself."""

    def __init__(self, *, correlations: int, corr: tuple[int, ...], flow: tuple[int, int], out: int) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(correlations, corr[0], 1)
        if len(corr) > 1:
            self.convc2 = nn.Conv2d(corr[0], corr[1], 3, padding=1)
        self.convf1 = nn.Conv2d(2, flow[0], 7, padding=3)
        self.convf2 = nn.Conv2d(flow[0], flow[1], 3, padding=1)
        self.conv = nn.Conv2d(corr[-1] + flow[1], out - 2, 3, padding=1)
        self._deep = len(corr) > 1

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        c = F.relu(self.convc1(correlation))
        if self._deep:
            c = F.relu(self.convc2(c))
        f = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat((F.relu(self.conv(torch.cat((c, f), dim=1))), flow), dim=1)


class ConvGRU(nn.Module):
    """A convolutional gated recurrent unit; RAFT large applies it along rows, then along columns."""

    def __init__(self, *, hidden: int, inputs: int, kernels: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self._suffixes = ("1", "2") if len(kernels) == 2 else ("",)
        for suffix, kernel in zip(self._suffixes, kernels, strict=True):
            padding = (kernel[0] // 2, kernel[1] // 2)
            for gate in "zrq":
                self.add_module(f"conv{gate}{suffix}", nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding))

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        for suffix in self._suffixes:
            convz, convr, convq = (self.get_submodule(f"conv{gate}{suffix}") for gate in "zrq")
            inputs = torch.cat((hidden, x), dim=1)
            z, r = torch.sigmoid(convz(inputs)), torch.sigmoid(convr(inputs))
            hidden = (1 - z) * hidden + z * torch.tanh(convq(torch.cat((r * hidden, x), dim=1)))
        return hidden


class FlowHead(nn.Module):
    """Maps the hidden state to an update of the flow (B, 2, h, w)."""

    def __init__(self, *, channels_in: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, inner, 3, padding=1)
        self.conv2 = nn.Conv2d(inner, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        delta: Tensor = self.conv2(F.relu(self.conv1(hidden)))
        return delta


class UpdateBlock(nn.Module):
    """One refinement step: motion features, GRU, flow update, and the weights of convex upsampling (large only)."""

    def __init__(self, *, encoder: MotionEncoder, gru: ConvGRU, flow_head: FlowHead, mask_channels: int | None) -> None:
        super().__init__()
        self.encoder, self.gru, self.flow_head = encoder, gru, flow_head
        if mask_channels is not None:
            self.mask = nn.Sequential(
                nn.Conv2d(mask_channels, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, _STRIDE * _STRIDE * 9, 1)
            )
        self._predicts_mask = mask_channels is not None

    def forward(
        self, hidden: Tensor, context: Tensor, correlation: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        motion = self.encoder(flow, correlation)
        hidden = self.gru(hidden, torch.cat((context, motion), dim=1))
        # The authors balance gradients by this factor; the published weights depend on it.
        mask = 0.25 * self.mask(hidden) if self._predicts_mask else None
        return hidden, self.flow_head(hidden), mask


class RAFT(nn.Module):
    """Optical flow by all-pairs correlation and recurrent refinement; built by ``build_raft``."""

    def __init__(
        self, *, fnet: FeatureEncoder, cnet: FeatureEncoder, update_block: UpdateBlock, hidden: int, radius: int
    ) -> None:
        super().__init__()
        self.fnet, self.cnet, self.update_block = fnet, cnet, update_block
        self._hidden, self._radius = hidden, radius

    def forward(self, query: Tensor, reference: Tensor, iterations: int = 12) -> Tensor:
        """Estimates the flow from the query to the reference.

        Args:
            query: RGB (B, 3, H, W) float [0, 255].
            reference: RGB (B, 3, H, W) float [0, 255].
            iterations: Refinement steps [>= 1].

        Returns:
            Displacement (B, 2, H, W) [pixels], x then y.
        """
        H, W = query.shape[-2:]
        # With fewer than 16 positions a side, the coarsest level of the pyramid would be degenerate.
        padded = [max(length + -length % _STRIDE, 16 * _STRIDE) for length in (H, W)]
        extra_y, extra_x = padded[0] - H, padded[1] - W
        pad = (extra_x // 2, extra_x - extra_x // 2, extra_y // 2, extra_y - extra_y // 2)
        pair = [F.pad(2 * (image / 255) - 1, pad, mode="replicate") for image in (query, reference)]
        first, second = self.fnet(torch.cat(pair)).chunk(2)
        pyramid = correlation_pyramid(first, second)
        context = self.cnet(pair[0])
        hidden, context = torch.tanh(context[:, : self._hidden]), torch.relu(context[:, self._hidden :])
        B, _, h, w = first.shape
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((x, y)).to(first)[None]  # (1, 2, h, w)
        flow = first.new_zeros(B, 2, h, w)
        mask: Tensor | None = None
        for _ in range(iterations):
            correlation = look_up(pyramid, grid + flow, self._radius)
            hidden, delta, mask = self.update_block(hidden, context, correlation, flow)
            flow = flow + delta
        upsampled = _upsample(flow) if mask is None else _upsample_convex(flow, mask)
        return upsampled[..., pad[2] : pad[2] + H, pad[0] : pad[0] + W]


def correlation_pyramid(first: Tensor, second: Tensor) -> list[Tensor]:
    """All-pairs correlation (B h w, 1, h, w), and its average-pooled levels, each half the size of the last."""
    B, C, h, w = first.shape
    correlation = torch.bmm(first.flatten(2).transpose(1, 2), second.flatten(2)) / C**0.5
    levels = [correlation.reshape(B * h * w, 1, h, w)]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def look_up(pyramid: list[Tensor], target: Tensor, radius: int) -> Tensor:
    """Samples correlations around the flow's endpoints: (B, 2, h, w) -> (B, LEVELS (2 radius + 1)^2, h, w)."""
    B, _, h, w = target.shape
    step = torch.arange(-radius, radius + 1, device=target.device, dtype=target.dtype)
    # In the original, x is the first axis of the window; the published weights depend on it.
    window = torch.stack(torch.meshgrid(step, step, indexing="ij"), dim=-1)
    center = target.permute(0, 2, 3, 1).reshape(B * h * w, 1, 1, 2)
    samples = []
    for level, correlation in enumerate(pyramid):
        point = center / 2**level + window
        size = point.new_tensor((max(correlation.shape[-1] - 1, 1), max(correlation.shape[-2] - 1, 1)))
        sampled = F.grid_sample(correlation, 2 * point / size - 1, align_corners=True)
        samples.append(sampled.view(B, h, w, -1))
    return torch.cat(samples, dim=-1).permute(0, 3, 1, 2)


def _upsample(flow: Tensor) -> Tensor:
    return _STRIDE * F.interpolate(flow, scale_factor=_STRIDE, mode="bilinear", align_corners=True)


def _upsample_convex(flow: Tensor, mask: Tensor) -> Tensor:
    """Upsamples by learned convex combinations of the nine nearest flow vectors."""
    B, _, h, w = flow.shape
    weight = mask.view(B, 1, 9, _STRIDE, _STRIDE, h, w).softmax(dim=2)
    neighbors = F.unfold(_STRIDE * flow, 3, padding=1).view(B, 2, 9, 1, 1, h, w)
    fine = (weight * neighbors).sum(dim=2)  # (B, 2, 8, 8, h, w)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(B, 2, _STRIDE * h, _STRIDE * w)


def build_raft(*, small: bool) -> RAFT:
    """Builds RAFT small or large, with random weights."""
    if small:
        widths, channels, hidden, context, radius = (32, 64, 96), 128, 96, 64, 3
        block: type[ResidualBlock] | type[BottleneckBlock] = BottleneckBlock
        motion = MotionEncoder(correlations=LEVELS * (2 * radius + 1) ** 2, corr=(96,), flow=(64, 32), out=82)
        gru = ConvGRU(hidden=hidden, inputs=context + 82, kernels=((3, 3),))
        head = FlowHead(channels_in=hidden, inner=128)
    else:
        widths, channels, hidden, context, radius = (64, 96, 128), 256, 128, 128, 4
        block = ResidualBlock
        motion = MotionEncoder(correlations=LEVELS * (2 * radius + 1) ** 2, corr=(256, 192), flow=(128, 64), out=128)
        gru = ConvGRU(hidden=hidden, inputs=context + 128, kernels=((1, 5), (5, 1)))
        head = FlowHead(channels_in=hidden, inner=256)
    return RAFT(
        fnet=FeatureEncoder(block=block, widths=widths, channels=channels, norm="instance"),
        cnet=FeatureEncoder(block=block, widths=widths, channels=hidden + context, norm="none" if small else "batch"),
        update_block=UpdateBlock(encoder=motion, gru=gru, flow_head=head, mask_channels=None if small else hidden),
        hidden=hidden,
        radius=radius,
    )


def load_raft(path: str | Path) -> RAFT:
    """Loads published weights with the original's or torchvision's parameter names.

    Args:
        path: A file, ``.pth`` or ``.safetensors``.

    Returns:
        RAFT small or large, depending on the weights, in evaluation mode.

    Raises:
        RaftError: The file is missing, damaged, or contains something else. No code in it is run.
    """
    path = Path(path)
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise RaftError(f"{path.name} is missing or damaged.") from error
    except Exception as error:  # a malicious file can make the unpickler raise anything
        raise RaftError(f"{path.name} cannot be read safely.") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise RaftError(f"{path.name} contains no weights.")
    state = {_original_name(str(key)): value for key, value in loaded.items()}
    small = "fnet.layer1.0.conv3.weight" in state
    if small:  # torchvision numbers the single GRU; the original does not
        state = {re.sub(r"(gru\.conv[zrq])1\.", r"\1.", key): value for key, value in state.items()}
    raft = build_raft(small=small)
    expected = raft.state_dict()
    # The norm of a shortcut has two names; files contain one of them or both.
    for key in expected:
        alias = re.sub(r"downsample\.1\.", "norm4." if small else "norm3.", key)
        if key not in state and alias in state:
            state[key] = state[alias]
        if key in state and alias in expected and alias not in state:
            state[alias] = state[key]
        if key not in state and key.endswith("num_batches_tracked"):
            state[key] = expected[key]
    try:
        raft.load_state_dict(state)
    except RuntimeError as error:
        raise RaftError(f"{path.name} does not contain RAFT's weights.") from error
    return raft.eval()


_TORCHVISION = (
    (r"^feature_encoder\.", "fnet."),
    (r"^context_encoder\.", "cnet."),
    (r"^update_block\.motion_encoder\.convcorr(\d)\.0\.", r"update_block.encoder.convc\1."),
    (r"^update_block\.motion_encoder\.convflow(\d)\.0\.", r"update_block.encoder.convf\1."),
    (r"^update_block\.motion_encoder\.conv\.0\.", "update_block.encoder.conv."),
    (r"^update_block\.recurrent_block\.convgru(\d)\.conv([zrq])\.", r"update_block.gru.conv\2\1."),
    (r"^mask_predictor\.convrelu\.0\.", "update_block.mask.0."),
    (r"^mask_predictor\.conv\.", "update_block.mask.2."),
    (r"^((?:fnet|cnet))\.convnormrelu\.0\.", r"\1.conv1."),
    (r"^((?:fnet|cnet))\.convnormrelu\.1\.", r"\1.norm1."),
    (r"^((?:fnet|cnet))\.conv\.", r"\1.conv2."),
    (r"^((?:fnet|cnet)\.layer\d\.\d)\.convnormrelu(\d)\.0\.", r"\1.conv\2."),
    (r"^((?:fnet|cnet)\.layer\d\.\d)\.convnormrelu(\d)\.1\.", r"\1.norm\2."),
)


def _original_name(key: str) -> str:
    key = key.removeprefix("module.")
    for pattern, replacement in _TORCHVISION:
        key = re.sub(pattern, replacement, key)
    return key
