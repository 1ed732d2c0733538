"""The command line of ``app.py``."""

from __future__ import annotations

import sys

import pytest

import app


@pytest.mark.parametrize(
    ("argument", "status", "answer"),
    [
        ("--help", 0, "docs/DEPLOYMENT.md"),
        ("--port=80", 2, "unrecognized arguments: --port=80"),
        ("x", 2, "unrecognized"),
    ],
)
def test_an_argument_starts_no_server(
    argument: str, status: int, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "build", lambda: pytest.fail("the server starts"))
    monkeypatch.setattr(sys, "argv", ["app.py", argument])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == status
    assert answer in "".join(capsys.readouterr())
