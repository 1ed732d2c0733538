"""Weights files: loads encoders from disk or the Hugging Face Hub, and saves them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mamp.distributed import resolve_device
from mamp.files import atomic_path, file_stamp
from mamp.model.encoder import Encoder, EncoderFunction, optimize_for_inference
from mamp.model.patch_encoder import PATCH, PatchEncoder

TABLE_1_WEIGHTS, SMALL_WEIGHTS, PAPER_WEIGHTS = "table1", "small", "paper"  # given in place of a weights file
_FOLDER = Path(__file__).parent.parent / "weights"
DEFAULT_WEIGHTS = SMALL_WEIGHTS
_HUB_TIMEOUT = 3.0  # [s] to ask the Hub for a newer file: some networks drop the question
SHIPPED_WEIGHTS = {
    TABLE_1_WEIGHTS: _FOLDER / "mamp.safetensors",
    SMALL_WEIGHTS: _FOLDER / "mamp-small.safetensors",
    PAPER_WEIGHTS: _FOLDER / "mamp-paper.safetensors",
}


class WeightsError(ValueError):
    """A weights file cannot be found, read or used; the message is one sentence for the user."""


def load_encoder(
    source: str | Path | None = None,
    *,
    filename: str | None = None,
    sha256: str | None = None,
    device: str | torch.device = "auto",
    fold: bool = True,
) -> EncoderFunction:
    """Loads an encoder, ready for inference.

    Args:
        source: ``None`` or ``"small"`` for the shipped weights of the small encoder, ``"paper"`` for a small
            encoder that the paper's loss trained, ``"table1"`` for the encoder of Table 1, ``"patch"`` for
            ``PatchEncoder``, else a file or a Hugging Face Hub id (``user/name``, ``user/name@revision`` or
            ``user/name@revision:file``). A file is this project's safetensors or the checkpoint of the paper's authors
            (``{"state_dict": ...}``).
        filename: File in the Hub repository.
        sha256: Expected SHA-256 of the file, in hexadecimal.
        device: "cpu", "cuda", "cuda:1", or "auto": CUDA if available, else the CPU.
        fold: Optimize the encoder for inference: fold batch norm into the convolutions, use the channels-last layout and,
            on a CPU without bfloat16, Winograd convolutions. The features are the same up to rounding.

    Returns:
        A function from Lab (B, 3, H, W) to features (B, C, H / 4, W / 4).

    Raises:
        WeightsError: The file is missing, damaged, of another model, or has another SHA-256. No code in it is run.
    """
    if source == PATCH:
        return PatchEncoder()
    path = resolve_weights(source or DEFAULT_WEIGHTS, filename=filename)
    if sha256 is not None and file_sha256(path) != sha256.lower():
        raise WeightsError(f"{path.name} does not have the expected SHA-256: it is damaged or another file.")
    state, options = _read_state(path)
    try:
        with torch.device("meta"):  # the file replaces all initial values
            encoder = Encoder(**options)
        names = encoder.state_dict()
        counters = {name: torch.zeros((), dtype=torch.long) for name in names if name.endswith("num_batches_tracked")}
        encoder.load_state_dict({**counters, **state}, assign=True)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{path.name} contains the weights of another model.") from error
    if not all(torch.isfinite(value).all() for value in encoder.state_dict().values()):
        raise WeightsError(f"{path.name} contains weights that are not finite.")
    encoder.eval().to(resolve_device(device)).requires_grad_(False)
    # No folders of this machine.
    name = path.name if source is None or source in SHIPPED_WEIGHTS or Path(source).is_file() else str(source)
    encoder.origin = {"weights": name, "weights_sha256": file_sha256(path)}
    return optimize_for_inference(encoder) if fold else encoder


def shared_encoder(source: str | None, device: str) -> EncoderFunction:
    """The encoder of ``load_encoder``, loaded once per process, file and device; callers must not change it.

    Raises:
        WeightsError: As ``load_encoder``.
    """
    stamp = None if source == PATCH else file_stamp(resolve_weights(source or DEFAULT_WEIGHTS))
    return _shared_encoder(source, resolve_device(device), stamp)


@lru_cache(maxsize=8)
def _shared_encoder(source: str | None, device: torch.device, _stamp: tuple[Path, int, int] | None) -> EncoderFunction:
    return load_encoder(source, device=device)


def resolve_weights(
    source: str | Path,
    *,
    filename: str | None = None,
    default_filename: str = "mamp.safetensors",
    cached_first: bool = False,
) -> Path:
    """Finds a weights file on disk, or downloads it from the Hugging Face Hub.

    Args:
        source: The name of shipped weights, a file, or a Hub id: ``user/name``, ``user/name@revision`` or
            ``user/name@revision:file``. A revision is a commit, tag or branch; only a commit always names the same file.
        filename: File in the Hub repository.
        default_filename: The same, if neither ``source`` nor ``filename`` names one.
        cached_first: Take a file in the Hub's cache without asking the Hub for a newer one.

    Returns:
        The file on disk.

    Raises:
        WeightsError: The file does not exist, or cannot be downloaded.
    """
    path = SHIPPED_WEIGHTS.get(str(source), Path(source))
    if path.is_file():
        return path
    parts = _hub_parts(source)
    if parts is None:
        raise WeightsError(f"There is no weights file {path.name}.")
    repository, revision, named = parts
    file = filename or named or default_filename
    from huggingface_hub import hf_hub_download  # only here: it takes a fifth of a second, and few runs need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        if cached_first and (cached := _cached_file(repository, revision, file)) is not None:
            return cached
        # The caller chooses the revision and may check a hash; no code in the file is run.
        return Path(hf_hub_download(repository, file, revision=revision, etag_timeout=_HUB_TIMEOUT))  # nosec
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise WeightsError(f"The weights {source} could not be downloaded from the Hugging Face Hub.") from error


def needs_download(source: str | Path, *, default_filename: str) -> bool:
    """Whether a file is on the Hub, by its name, and no copy of it is in the Hub's cache."""
    parts = _hub_parts(source)
    if parts is None or SHIPPED_WEIGHTS.get(str(source), Path(source)).is_file():
        return False
    repository, revision, named = parts
    return _cached_file(repository, revision, named or default_filename) is None


def _cached_file(repository: str, revision: str | None, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repository, file, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def _hub_parts(source: str | Path) -> tuple[str, str | None, str] | None:
    """Repository, revision or ``None``, and file or "" of a Hub id; ``None`` if it is none."""
    name, _, file = str(source).partition(":")
    repository, _, revision = name.partition("@")
    if isinstance(source, Path) or not _HUB_ID.fullmatch(repository):
        return None
    return repository, revision or None, file


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.pt)(?<!\.pth)(?<!\.ckpt)(?<!\.safetensors)")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_encoder(encoder: Encoder, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Writes an encoder as safetensors in half precision; its architecture and ``notes`` become metadata."""
    state = {
        # Inference never reads the batch counters.
        key: value.detach().cpu().half().contiguous()
        for key, value in encoder.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    metadata = {"temperature": str(encoder.temperature), **(notes or {})}
    if encoder.width is not None:
        metadata |= {"width": str(encoder.width), "depth": str(encoder.depth)}
    with atomic_path(Path(path)) as partial:
        save_file(state, partial, metadata=metadata)


def _read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict of either file format under the names of ``Encoder``, and the arguments of ``Encoder``."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            options: dict[str, Any] = {}
            if metadata.get("temperature", "None") != "None":
                options["temperature"] = float(metadata["temperature"])
            if "width" in metadata:
                options |= {"width": int(metadata["width"]), "depth": int(metadata["depth"])}
            return _rename(state, path), options
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise WeightsError(f"{path.name} is not a complete safetensors file.") from error
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path.name} is not a checkpoint that can be read safely.") from error
    if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get("state_dict"), Mapping):
        checkpoint = checkpoint["state_dict"]
    if not isinstance(checkpoint, Mapping) or not all(isinstance(value, Tensor) for value in checkpoint.values()):
        raise WeightsError(f"{path.name} contains no weights.")
    return _rename(checkpoint, path), {}


def _rename(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Maps parameter names to those of ``Encoder``, without the prefixes of data-parallel training."""
    renamed = {}
    for key, value in state.items():
        if not value.dtype.is_floating_point:
            continue
        name = str(key).removeprefix("module.").removeprefix("feature_extraction.")
        # The authors' checkpoint and the shipped weights call the residual branch "left".
        renamed[name.replace(".left.", ".residual.")] = value.float()
    if "conv1.0.weight" not in renamed:
        raise WeightsError(f"{path.name} contains the weights of another model.")
    return renamed
