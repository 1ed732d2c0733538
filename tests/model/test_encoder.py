"""The encoder of Table 1, small encoders, and weights files."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from mamp.model.checkpoint import WeightsError, file_sha256, load_encoder, needs_download, save_encoder, shared_encoder
from mamp.model.color import rgb_to_lab
from mamp.model.encoder import Encoder, half_precision
from mamp.model.patch_encoder import PatchEncoder
from tests.conftest import scene


def test_encoder_has_the_parameters_of_the_paper() -> None:
    assert sum(parameter.numel() for parameter in Encoder().parameters()) == 5_291_648


def test_a_saved_encoder_computes_the_same_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(0.05).eval()
    save_encoder(encoder, tmp_path / "weights.safetensors")
    loaded = load_encoder(tmp_path / "weights.safetensors")
    lab = torch.rand(1, 3, 32, 40)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(lab), encoder(lab), atol=0.05, rtol=0.02)  # half precision on disk


@pytest.mark.parametrize(("width", "depth", "parameters"), [(64, 3, 247_392), (32, 1, 35_408)])
def test_a_weights_file_holds_the_architecture_of_a_small_encoder(
    tmp_path: Path, width: int, depth: int, parameters: int
) -> None:
    torch.manual_seed(0)
    encoder = Encoder(0.05, width=width, depth=depth).eval()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    save_encoder(encoder, tmp_path / "small.safetensors")
    loaded = load_encoder(tmp_path / "small.safetensors", device="cpu")
    lab = torch.rand(1, 3, 32, 40)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(lab), encoder(lab), atol=0.05, rtol=0.02)  # half precision on disk
    assert isinstance(loaded, Encoder) and loaded.architecture == f"width {width}, depth {depth}"
    with pytest.raises(ValueError, match="width must be 16, 24"):
        Encoder(width=30)


@pytest.mark.parametrize("metadata", [{"width": "48", "depth": "1"}, {"width": "many", "depth": "1"}, {"width": "32"}])
def test_a_weights_file_of_another_architecture_than_it_says_is_refused(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    path = tmp_path / "weights.safetensors"
    save_encoder(Encoder(width=32, depth=1), path)
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    save_file(state, path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("name", "file", "architecture"),
    [
        ("table1", "mamp.safetensors", "Table 1"),
        ("small", "mamp-small.safetensors", "width 64, depth 3"),
        ("paper", "mamp-paper.safetensors", "width 64, depth 3"),
    ],
)
def test_shipped_weights_have_names_and_say_their_architecture(name: str, file: str, architecture: str) -> None:
    encoder = load_encoder(name, device="cpu")
    assert isinstance(encoder, Encoder)
    assert (encoder.origin["weights"], encoder.architecture) == (file, architecture)


def test_the_small_encoder_gives_the_features_of_table_1() -> None:
    lab = rgb_to_lab(torch.from_numpy(np.stack([scene(t, 96, 128)[0] for t in (0, 5)])))
    with torch.inference_mode():
        small, table_1 = (load_encoder(name, device="cpu")(lab) for name in ("small", "table1"))
    assert F.cosine_similarity(small, table_1).mean() > 0.6


def test_shipped_weights_load_and_features_have_equal_length() -> None:
    features = load_encoder()(torch.rand(1, 3, 32, 32))
    length = features.norm(dim=1)
    assert features.shape == (1, 64, 8, 8)
    torch.testing.assert_close(length, length.mean().expand_as(length))


def test_the_checkpoint_of_the_authors_loads(tmp_path: Path) -> None:
    encoder = Encoder().eval()
    state = {
        f"module.{key}"
        if key.startswith("post")
        else f"module.feature_extraction.{key.replace('residual', 'left')}": value
        for key, value in encoder.state_dict().items()
    }
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "mamp.pt")
    lab = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(load_encoder(tmp_path / "mamp.pt")(lab), encoder(lab), atol=1e-5, rtol=1e-4)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("hostile-was-here"),)  # type: ignore[return-value]


def test_bad_files_are_rejected_in_one_sentence_and_run_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hostile.pt").write_bytes(pickle.dumps(Hostile()))
    torch.save({"state_dict": {"other.weight": torch.zeros(3)}}, "other.pt")
    save_encoder(Encoder(), "complete.safetensors")
    Path("truncated.safetensors").write_bytes(Path("complete.safetensors").read_bytes()[:5000])
    Path("text.pt").write_text("hello")
    for name in ("hostile.pt", "other.pt", "truncated.safetensors", "text.pt", "missing.pt"):
        with pytest.raises(WeightsError, match=name) as caught:
            load_encoder(Path(name))
        assert str(caught.value).count(".") <= 2 and "\n" not in str(caught.value)
    assert not Path("hostile-was-here").exists()


def test_weights_are_downloaded_from_the_hub_and_their_hash_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mamp.safetensors"
    save_encoder(Encoder(), path)
    requests = []

    def download(repository: str, filename: str, *, revision: str | None, etag_timeout: float) -> str:
        assert etag_timeout <= 5, "a network that swallows the question delays every run"
        requests.append((repository, filename, revision))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    load_encoder("somebody/mamp", filename="a.safetensors", sha256=file_sha256(path))
    load_encoder("somebody/mamp:b.safetensors")
    load_encoder("somebody/mamp@0a1b2c:b.safetensors")
    load_encoder("somebody/mamp@main")
    assert requests == [
        ("somebody/mamp", "a.safetensors", None),
        ("somebody/mamp", "b.safetensors", None),
        ("somebody/mamp", "b.safetensors", "0a1b2c"),
        ("somebody/mamp", "mamp.safetensors", "main"),
    ]
    with pytest.raises(WeightsError, match="SHA-256"):
        load_encoder("somebody/mamp", sha256="0" * 64)


def test_what_is_on_disk_needs_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mamp.safetensors"
    save_encoder(Encoder(), path)
    asked = []

    def cached(repository: str, filename: str, *, revision: str | None) -> str | None:
        asked.append((repository, filename, revision))
        return str(path) if filename == "b.safetensors" else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    for source in (path, str(path), "small", "missing.safetensors", "somebody/mamp@0a1b:b.safetensors"):
        assert not needs_download(source, default_filename="c.safetensors"), source
    assert needs_download("somebody/mamp", default_filename="c.safetensors")
    assert asked == [("somebody/mamp", "b.safetensors", "0a1b"), ("somebody/mamp", "c.safetensors", None)]


def test_a_shared_encoder_is_loaded_once_and_again_when_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "mamp.safetensors"
    save_encoder(Encoder(), path)
    first = shared_encoder(str(path), "cpu")
    assert shared_encoder(str(path), "cpu") is first and shared_encoder(None, "cpu") is not first
    save_encoder(Encoder(), path)
    os.utime(path, ns=(1, 1))
    assert shared_encoder(str(path), "cpu") is not first
    with pytest.raises(WeightsError, match="no weights file"):
        shared_encoder("missing.pt", "cpu")


def test_half_precision_changes_the_direction_of_features_by_less_than_a_hundred_thousandth() -> None:
    encoder = load_encoder(device="cpu", fold=False)
    lab = rgb_to_lab(torch.from_numpy(scene(0)[0]))[None]
    half = half_precision(encoder)(lab)
    assert half.dtype == torch.float16 and next(encoder.parameters()).dtype == torch.float32
    assert 1 - F.cosine_similarity(half.double(), encoder(lab).double()).mean() < 1e-5
    patches = PatchEncoder()
    assert half_precision(patches) is patches
