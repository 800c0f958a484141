"""Opening of a client session: from the greeting to readiness. RFC 5321 §3.1, §3.2, RFC 3207, RFC 4954.

    greeting ─220→ ehlo ─250→ [starttls ─220→ tls → ehlo ─250→] [auth ─235→] done
                     └5yz→ helo ─250→ done

Each step awaits one reply. What isn't foreseen is a refusal, and the session is over.
"""

from __future__ import annotations

__all__ = ("ClientConfig", "Credentials", "Opening", "TlsUse")

import re
from base64 import b64encode
from typing import Literal

import msgspec

from deliverability.smtp.capabilities import NO_CAPABILITIES, Capabilities
from deliverability.smtp.endings import Closed, Ready, TlsWanted
from deliverability.smtp.reply import Reply
from engine.errors import LocalProtocolError, Phase

TlsUse = Literal["never", "opportunistic", "required", "implicit"]
"""STARTTLS: not asked for, used where offered, or insisted on; `implicit`: TLS from the first octet."""

Step = Literal["greeting", "ehlo", "helo", "starttls", "tls", "auth", "done"]

_EHLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_STEP_PHASE: dict[Step, Phase] = {
    "greeting": "greeting",
    "ehlo": "greeting",
    "helo": "greeting",
    "starttls": "tls",
    "tls": "tls",
    "auth": "auth",
    "done": "mail",
}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are to a relay. RFC 4616. Never logged: the representation hides the password."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Show the user name alone."""
        return f"Credentials(username={self.username!r}, password=…)"


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a session is to be held.

    `window`: most messages in flight where CHUNKING and PIPELINING are offered, which bounds what can be
    in doubt when the connection dies. `pipelining` and `chunking` false: not used though offered, for
    servers that break. `auth_in_clear` allows AUTH without TLS, for loopback only. `authenticated`: where TLS is
    established, it has shown that the server is the one that the recipient's domain means (RFC 8689 §4.2.1).
    """

    ehlo_name: str
    tls: TlsUse = "opportunistic"
    credentials: Credentials | None = None
    auth_in_clear: bool = False
    pipelining: bool = True
    chunking: bool = True
    window: int = 16
    authenticated: bool = False


class Opening:
    """The state machine of the opening; `output` collects what is to be written."""

    __slots__ = ("_challenges", "_config", "capabilities", "output", "step", "tls")

    def __init__(self, config: ClientConfig, output: list[bytes]) -> None:
        if _EHLO_NAME.fullmatch(config.ehlo_name) is None:
            raise LocalProtocolError(
                f"not a host name for EHLO: {config.ehlo_name!r}; expected a domain or address literal"
            )
        self.step: Step = "greeting"
        self.capabilities: Capabilities = NO_CAPABILITIES
        self.tls = config.tls == "implicit"
        self.output = output
        self._config = config
        self._challenges: list[bytes] = []

    @property
    def phase(self) -> Phase:
        """The phase of the session that `step` belongs to, for errors and time-outs."""
        return _STEP_PHASE[self.step]

    def reply(self, reply: Reply) -> Ready | TlsWanted | Closed | None:
        """Take the reply to the present step; None means that another step was begun."""
        match self.step:
            case "greeting":
                return self._greeted(reply)
            case "ehlo":
                return self._answered_ehlo(reply)
            case "helo":
                return self._next_step() if reply.positive else self._refused(reply)
            case "starttls":
                return self._answered_starttls(reply)
            case "auth":
                return self._answered_auth(reply)
            case "tls" | "done":
                return Closed("violation", self.phase, f"unsolicited reply: {reply}", reply)

    def tls_established(self) -> None:
        """Begin again on the encrypted channel; what was learnt in clear is forgotten. RFC 3207 §4.2."""
        assert self.step == "tls", self.step
        self.tls = True
        self.capabilities = NO_CAPABILITIES
        self._ehlo()

    def _refused(self, reply: Reply) -> Closed:
        self.output.append(b"QUIT\r\n")
        return Closed("refused", self.phase, str(reply), reply)

    def _greeted(self, reply: Reply) -> Closed | None:
        if reply.code != 220:
            return self._refused(reply)  # 554: RFC 5321 §3.1
        self._ehlo()
        return None

    def _ehlo(self) -> None:
        self.step = "ehlo"
        self.output.append(b"EHLO %b\r\n" % self._config.ehlo_name.encode())

    def _answered_ehlo(self, reply: Reply) -> Ready | Closed | None:
        if reply.positive:
            self.capabilities = Capabilities.parse(reply)
            return self._next_step()
        if not reply.permanent:
            return self._refused(reply)
        self.step = "helo"
        self.output.append(b"HELO %b\r\n" % self._config.ehlo_name.encode())
        return None

    def _next_step(self) -> Ready | Closed | None:
        config = self._config
        if not self.tls and config.tls != "never":
            if self.capabilities.starttls:
                self.step = "starttls"
                self.output.append(b"STARTTLS\r\n")
                return None
            if config.tls == "required":
                return self._unable(
                    "tls", "TLS is required, but the server does not offer STARTTLS"
                )
        return self._after_tls()

    def _answered_starttls(self, reply: Reply) -> TlsWanted | Ready | Closed | None:
        if reply.code == 220:
            self.step = "tls"
            return TlsWanted()
        if self._config.tls == "required":
            return self._refused(reply)
        return self._after_tls()

    def _unable(self, phase: Phase, reason: str) -> Closed:
        self.output.append(b"QUIT\r\n")
        return Closed("refused", phase, reason)

    def _after_tls(self) -> Ready | Closed | None:
        credentials = self._config.credentials
        if credentials is None:
            self.step = "done"
            return Ready(self.capabilities)
        if not self.tls and not self._config.auth_in_clear:
            return self._unable("auth", "AUTH is configured, but the session is not encrypted")
        return self._begin_auth(credentials)

    def _begin_auth(self, credentials: Credentials) -> Closed | None:
        self.step = "auth"
        username, password = credentials.username.encode(), credentials.password.encode()
        # "*" cancels an exchange that goes on longer than the mechanism has answers. RFC 4954 §4
        self._challenges = [b"*"]
        if "PLAIN" in self.capabilities.auth:
            initial = b64encode(b"\0%b\0%b" % (username, password))
            self.output.append(b"AUTH PLAIN %b\r\n" % initial)
        elif "LOGIN" in self.capabilities.auth:
            self._challenges = [b64encode(username), b64encode(password), b"*"]
            self.output.append(b"AUTH LOGIN\r\n")
        else:
            offered = " ".join(self.capabilities.auth) or "none"
            return self._unable("auth", f"no common AUTH mechanism (offered: {offered})")
        return None

    def _answered_auth(self, reply: Reply) -> Ready | Closed | None:
        if reply.code == 334:
            if not self._challenges:
                return Closed("violation", "auth", f"AUTH has no end: {reply}", reply)
            self.output.append(self._challenges.pop(0) + b"\r\n")
            return None
        if not reply.positive:
            return self._refused(reply)
        self.step = "done"
        return Ready(self.capabilities)
