"""Weights files: loading an encoder from the disk or the Hugging Face Hub, and saving one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mamp.model.encoder import Encoder, EncoderFunction, optimize_for_inference
from mamp.model.patch_encoder import PATCH, PatchEncoder

SHIPPED_WEIGHTS = Path(__file__).parent.parent / "weights" / "mamp.safetensors"


class WeightsError(ValueError):
    """A weights file that cannot be found, read or used; its text is one sentence for the user."""


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
    return optimize_for_inference(encoder) if fold else encoder


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
