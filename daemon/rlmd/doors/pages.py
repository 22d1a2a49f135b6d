"""What a reader of pages gets on the socket, in HTTP of the simplest kind: one answer, then the end."""

from __future__ import annotations

import structlog

from rlmd.doors.services import Services
from rlmd.metrics import CONTENT_TYPE

log = structlog.get_logger(__name__)


async def page(services: Services, path: str) -> bytes:
    """Return the whole response to a GET of *path*: the metrics, or that there is no such page."""
    if path.partition("?")[0] != "/metrics":
        return _response("404 Not Found", "text/plain", "There is /metrics, and nothing else.\n")
    try:
        text = await services.metrics()
    except Exception:  # a crash is of this page alone
        log.exception("page.crashed", path="/metrics")
        return _response("500 Internal Server Error", "text/plain", "The log says more.\n")
    return _response("200 OK", CONTENT_TYPE, text)


def _response(status: str, content_type: str, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
