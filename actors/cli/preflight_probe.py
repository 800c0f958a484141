"""The POST of a one-click unsubscribe as providers send it: no cookies, no redirects followed. RFC 8058 §3.1."""

from __future__ import annotations

__all__ = ("probe",)

import http.client
import ssl
import time
from urllib.parse import urlsplit

from deliverability.preflight.subject import EndpointAnswer

_TIMEOUT_S = 10.0
_BODY = b"List-Unsubscribe=One-Click"
_HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "veredus-preflight"}


def probe(url: str) -> EndpointAnswer:
    """Post to an HTTPS address and tell what it answered; failures are answers too."""
    began = time.monotonic()
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        connection = http.client.HTTPSConnection(
            parts.hostname or "",
            parts.port,
            timeout=_TIMEOUT_S,
            context=ssl.create_default_context(),
        )
        try:
            connection.request("POST", target, _BODY, _HEADERS)
            response = connection.getresponse()
            status, location = response.status, response.getheader("Location", "")
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return EndpointAnswer(0, _elapsed_ms(began), failure=str(error) or type(error).__name__)
    return EndpointAnswer(status, _elapsed_ms(began), location)


def _elapsed_ms(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
