"""Table 1: the modified ResNet-18 that turns a Lab frame into one feature for every fourth pixel."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mamp.model.winograd import use_winograd

STRIDE = 4  # n in the paper
CHANNELS = 64
SHIPPED_WEIGHTS = Path(__file__).parent.parent / "weights" / "mamp.safetensors"
PATCH = "patch"  # names the encoder without weights

EncoderFunction = Callable[[Tensor], Tensor]


class WeightsError(ValueError):
    """A weights file that cannot be found, read or used; its text is one sentence for the user."""


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


class PatchEncoder:
    """The honest baseline: 7x7 Lab patches at every fourth pixel, no training and no weights.

    Colour counts more than lightness (2.5 against 0.7), because light changes more from frame to frame.

    Args:
        side: Side of the patch, odd [pixels].
        temperature: Of the softmax over cosines [> 0].
    """

    origin: ClassVar[dict[str, str | None]] = {"weights": PATCH, "weights_sha256": None}

    def __init__(self, side: int = 7, temperature: float = 0.02) -> None:
        self.side = side
        self.temperature = temperature

    def __call__(self, lab: Tensor) -> Tensor:
        """Normalised Lab (B, 3, H, W) -> unit-length patches (B, 3 * side * side, H / 4, W / 4)."""
        weights = lab.new_tensor((0.7, 2.5, 2.5)).view(1, 3, 1, 1)
        margin = self.side // 2
        padded = F.pad(lab * weights, (margin,) * 4, mode="replicate")
        patches = F.unfold(padded, self.side, stride=STRIDE)  # (B, 3 * side * side, h * w)
        grid = ((lab.shape[-2] - 1) // STRIDE + 1, (lab.shape[-1] - 1) // STRIDE + 1)
        return unit_length(patches.view(*patches.shape[:2], *grid), self.temperature)


def unit_length(features: Tensor, temperature: float) -> Tensor:
    """Scales features (B, C, h, w) so that their dot product over sqrt(C) is the cosine over ``temperature``."""
    return F.normalize(features, dim=1) * math.sqrt(math.sqrt(features.shape[1]) / temperature)


def load_encoder(
    source: str | Path | None = None,
    *,
    filename: str | None = None,
    sha256: str | None = None,
    device: str | torch.device | None = None,
    fold: bool = True,
) -> EncoderFunction:
    """Loads an encoder, ready for inference.

    Args:
        source: ``None`` for the shipped weights; ``"patch"`` for the encoder without weights; else a file, or a Hugging
            Face Hub id (``user/name``). Files are this project's safetensors or the authors' checkpoint
            (``{"state_dict": ...}``).
        filename: The file in the Hub repository.
        sha256: What the file must hash to, in hexadecimal.
        device: Where it runs; the CPU if not given.
        fold: Fold batch norm into the convolutions, lay weights out channels last and, on a CPU without bfloat16, multiply
            less (``mamp/model/winograd.py``): the same answers, faster.

    Returns:
        A function from Lab (B, 3, H, W) to features (B, C, H / 4, W / 4).

    Raises:
        WeightsError: The file is missing, damaged, of another model, or not what ``sha256`` says. No code of it is run.
    """
    if source == PATCH:
        return PatchEncoder()
    path = resolve_weights(source or SHIPPED_WEIGHTS, filename=filename)
    if sha256 is not None and file_sha256(path) != sha256.lower():
        raise WeightsError(
            f"{path.name} does not have the SHA-256 that was asked for: the file is damaged or another one."
        )
    state, temperature = _read_state(path)
    encoder = Encoder(temperature)
    missing = {key: value for key, value in encoder.state_dict().items() if key.endswith("num_batches_tracked")}
    try:
        encoder.load_state_dict({**missing, **state})
    except RuntimeError as error:
        raise WeightsError(f"{path.name} holds the weights of another model.") from error
    if not all(torch.isfinite(value).all() for value in encoder.state_dict().values()):
        raise WeightsError(f"{path.name} holds weights that are not numbers.")
    encoder.eval().to(device or "cpu").requires_grad_(False)
    encoder.origin = {"weights": str(source or path.name), "weights_sha256": file_sha256(path)}
    return _folded(encoder) if fold else encoder


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


def resolve_weights(
    source: str | Path, *, filename: str | None = None, default_filename: str = "mamp.safetensors"
) -> Path:
    """Finds a weights file on the disk, or on the Hugging Face Hub (``user/name`` or ``user/name:file``).

    Raises:
        WeightsError: There is no such file, or the Hub cannot be reached.
    """
    path = Path(source)
    if path.is_file():
        return path
    repository, _, named = str(source).partition(":")
    if isinstance(source, Path) or not _HUB_ID.fullmatch(repository):
        raise WeightsError(f"There is no weights file {path.name}.")
    try:
        # No revision: whoever names a repository takes it as it is; safetensors run no code, and a hash can be asked for.
        return Path(hf_hub_download(repository, filename or named or default_filename))  # nosec
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise WeightsError(f"The weights {source} could not be fetched from the Hugging Face Hub.") from error


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.pt)(?<!\.pth)(?<!\.ckpt)(?<!\.safetensors)")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_encoder(encoder: Encoder, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Writes an encoder as safetensors in half precision, with its temperature and ``notes`` as metadata."""
    state = {
        # The counter of batches is no weight: inference never reads it.
        key: value.detach().cpu().half().contiguous()
        for key, value in encoder.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    metadata = {"temperature": str(encoder.temperature), **(notes or {})}
    save_file(state, path, metadata=metadata)


def _read_state(path: Path) -> tuple[dict[str, Tensor], float | None]:
    """The tensors of either format under this project's names, and the temperature."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            temperature = metadata.get("temperature", "None")
            return _plain(state, path), None if temperature == "None" else float(temperature)
        except (SafetensorError, OSError, ValueError) as error:
            raise WeightsError(f"{path.name} is not a whole safetensors file.") from error
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path.name} is not a checkpoint that can be read safely.") from error
    if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get("state_dict"), Mapping):
        checkpoint = checkpoint["state_dict"]
    if not isinstance(checkpoint, Mapping) or not all(isinstance(value, Tensor) for value in checkpoint.values()):
        raise WeightsError(f"{path.name} holds no weights.")
    return _plain(checkpoint, path), None


def _plain(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Names without the prefixes that the authors' checkpoint and data-parallel training put in front."""
    plain = {}
    for key, value in state.items():
        if not value.dtype.is_floating_point:
            continue
        plain[str(key).removeprefix("module.").removeprefix("feature_extraction.")] = value.float()
    if "conv1.0.weight" not in plain:
        raise WeightsError(f"{path.name} holds the weights of another model.")
    return plain


def _folded(encoder: Encoder) -> Encoder:
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
