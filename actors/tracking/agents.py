"""Who fetched it: a person's program, a scanner, a proxy that fetches in advance. A guess, told with the event.

Nothing is dropped for it: a scenario decides whether an open by a proxy means anything.
Sources: the agents that Google's image proxy and Apple's Mail Privacy Protection announce; the headers by which
browsers mark what they fetch in advance (`Sec-Purpose`, `Purpose`, `X-Moz`).
"""

from __future__ import annotations

__all__ = ("AgentKind", "agent_kind", "user_agent_kind")

from collections.abc import Mapping
from typing import Literal

AgentKind = Literal["person", "scanner", "proxy", "apple_privacy", "prefetch"]

_PROXIES = ("googleimageproxy", "ggpht", "yahoomailproxy", "yahoo! slurp", "outlookmobileproxy")
_SCANNERS = (
    *("bot", "scan", "crawl", "spider", "preview", "python", "curl", "wget", "java/", "go-http"),
    *("safelinks", "barracuda", "proofpoint", "mimecast", "symantec", "forcepoint", "ironport"),
    *("urldefense", "headless", "phantom", "okhttp", "libwww", "httpclient", "axios", "aiohttp"),
    *("facebookexternalhit", "slack", "whatsapp", "telegram", "skypeuri", "validator"),
)


def user_agent_kind(agent: str) -> AgentKind:
    """Guess by the agent's name alone."""
    text = agent.strip().lower()
    if text == "mozilla/5.0":  # all that Apple's proxies say of themselves
        return "apple_privacy"
    if any(word in text for word in _PROXIES):
        return "proxy"
    if not text or any(word in text for word in _SCANNERS):
        return "scanner"
    return "person"


def agent_kind(method: str, headers: Mapping[bytes, bytes]) -> AgentKind:
    """Guess by method and headers: who only asks for the head looks, and who fetches in advance says so."""
    kind = user_agent_kind(headers.get(b"user-agent", b"").decode("latin-1")[:500])
    if kind != "person":
        return kind
    purposes = (headers.get(name, b"").lower() for name in (b"sec-purpose", b"purpose", b"x-moz"))
    if any(b"prefetch" in purpose or b"preview" in purpose for purpose in purposes):
        return "prefetch"
    return "scanner" if method == "HEAD" else "person"
