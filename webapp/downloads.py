"""Names of downloads: files of a result carry the name of the clip. On the server no file has a visitor's name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.session import clip_of

_ROUTE = "/gradio_api/file="


class ClipNames:
    """Middleware that names downloads after their clips: ``cup_masks.zip`` for the masks of ``cup.mp4``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        _, route, path = str(scope.get("path", "")).partition(_ROUTE)
        name = download_name(Path(path)) if route else None

        async def send_named(message: Message) -> None:
            if name is not None and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kind = headers.get("content-disposition", "attachment").partition(";")[0]
                headers["content-disposition"] = f"{kind}; filename*=utf-8''{quote(name)}"
            await send(message)

        await self._app(scope, receive, send_named)


def download_name(path: Path) -> str | None:
    """The name under which a file of a result or a project file is saved; ``None`` for other files."""
    clip = clip_of(path)
    return None if clip is None else f"{clip.stem}_{path.name}"
