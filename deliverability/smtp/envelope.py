"""Envelope: one mail transaction as the client is asked to carry it out, and its commands.

RFC 5321 §4.1.1.2 and §4.1.1.3; SIZE RFC 1870, 8BITMIME RFC 6152, BINARYMIME RFC 3030, SMTPUTF8 RFC 6531, DSN
RFC 3461, REQUIRETLS RFC 8689. Nothing that a caller gives can end a command early: paths are matched
against the grammar's characters, and every other parameter is encoded or of a closed set.
"""

from __future__ import annotations

__all__ = (
    "PATH_OCTETS_MAX",
    "Body",
    "DsnOptions",
    "Transaction",
    "dsn_mistake",
    "from_xtext",
    "mail_command",
    "rcpt_command",
    "unfit",
    "xtext",
)

import re
from typing import Literal

import msgspec

from deliverability.smtp.capabilities import Capabilities
from deliverability.smtp.reply import Reply
from engine.errors import LocalProtocolError

PATH_OCTETS_MAX = 254
"""Longest mailbox between the angle brackets. RFC 5321 §4.5.3.1.3."""

Body = Literal["7bit", "8bit", "binary"]
"""The widest octets of the content. RFC 6152 §2, RFC 3030 §3."""

# Outside quotes no space, control character, quote or angle bracket; inside them no control character.
_PATH = re.compile(rb'(?:[!#-;=?-~\x80-\xff]++|"(?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*+")*+', re.DOTALL)
_XTEXT = re.compile(rb"[!-*,-<>-~]*+")
_NOTIFY = re.compile(r"NEVER|(?:(?:SUCCESS|FAILURE|DELAY)(?:,(?!\Z)|\Z)){1,3}")
_ENCODED = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_HEX = re.compile(rb"\+([0-9A-F]{2})")
_ENVID_OCTETS_MAX = 100
_ORCPT_OCTETS_MAX = 500


class DsnOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What delivery status notifications the sender asks for. RFC 3461 §4.

    `envelope_id` and `original_recipient` are plain text; they are encoded as xtext. Where the server
    doesn't offer DSN, all of it is left out.
    """

    ret: Literal["", "FULL", "HDRS"] = ""
    envelope_id: str = ""
    notify: str = ""
    original_recipient: str = ""


class Transaction(msgspec.Struct, frozen=True):
    """One message to one recipient, as a session is asked to send it.

    `token` is the caller's own and comes back with the ending. `reverse_path` and `forward_path` are
    mailboxes without angle brackets; an empty reverse-path is the null reverse-path (RFC 5321 §4.5.5).
    `size` is the content's octets if known, else 0. `smtputf8` says that header or addresses need it;
    `require_tls` that the message must not travel in clear, now or later (RFC 8689); whether the certificate must be
    checked, as that RFC asks, lies in the TLS context of the connection.
    """

    token: object
    reverse_path: bytes
    forward_path: bytes
    size: int = 0
    body: Body = "7bit"
    smtputf8: bool = False
    require_tls: bool = False
    dsn: DsnOptions | None = None


def mail_command(transaction: Transaction, capabilities: Capabilities) -> bytes:
    """Render MAIL with the parameters that the server offers, without CRLF.

    Raises:
        LocalProtocolError: the reverse-path or a parameter could break the command. RFC 5321 §4.1.2
    """
    path = transaction.reverse_path
    _check_path(path)
    command = b"MAIL FROM:<%b>" % path
    if capabilities.declares_size and transaction.size:
        command += b" SIZE=%d" % transaction.size
    if transaction.body != "7bit":
        command += b" BODY=8BITMIME" if transaction.body == "8bit" else b" BODY=BINARYMIME"
    if transaction.smtputf8:
        command += b" SMTPUTF8"
    if transaction.require_tls:
        command += b" REQUIRETLS"
    dsn = transaction.dsn
    if dsn is not None and capabilities.dsn:
        command += b" RET=" + dsn.ret.encode() if dsn.ret else b""
        command += _parameter(b" ENVID=", dsn.envelope_id, _ENVID_OCTETS_MAX)
    return command


def rcpt_command(transaction: Transaction, capabilities: Capabilities) -> bytes:
    """Render RCPT with the parameters that the server offers, without CRLF.

    Raises:
        LocalProtocolError: the forward-path or a parameter could break the command. RFC 5321 §4.1.2
    """
    path = transaction.forward_path
    _check_path(path)
    if not path:
        raise LocalProtocolError("the forward-path is empty; only a reverse-path may be")
    command = b"RCPT TO:<%b>" % path
    dsn = transaction.dsn
    if dsn is not None and capabilities.dsn:
        if dsn.notify:
            if _NOTIFY.fullmatch(dsn.notify) is None:
                raise LocalProtocolError(f"not a NOTIFY value of RFC 3461 §4.1: {dsn.notify!r}")
            command += b" NOTIFY=" + dsn.notify.encode()
        kind = b" ORCPT=rfc822;" if dsn.original_recipient.isascii() else b" ORCPT=utf-8;"
        command += _parameter(kind, dsn.original_recipient, _ORCPT_OCTETS_MAX)
    return command


def unfit(
    transaction: Transaction, capabilities: Capabilities, *, tls: bool, authenticated: bool = False
) -> Reply | None:
    """Say why this session can't carry the transaction, as the reply that the server would owe us.

    None when it can. The codes are those that the extensions' RFCs register for a relay's own refusal.
    `authenticated`: TLS has shown that the server is the one that the recipient's domain means.
    """
    size_max = capabilities.size
    if size_max and transaction.size > size_max:
        text = f"content of {transaction.size} octets, the server takes {size_max}"
        return Reply(552, "5.3.4", (text,))  # RFC 1870 §6.1
    if transaction.require_tls and not (tls and authenticated):
        text = "REQUIRETLS needs TLS with a server that DANE or MTA-STS names"
        return Reply(550, "5.7.10", (text,))  # RFC 8689 §4.2.1, §5
    if transaction.require_tls and not capabilities.requiretls:
        return Reply(550, "5.7.30", ("REQUIRETLS support required",))  # RFC 8689 §4.2.1
    ascii_paths = transaction.forward_path.isascii() and transaction.reverse_path.isascii()
    if (transaction.smtputf8 or not ascii_paths) and not capabilities.smtputf8:
        return Reply(553, "5.6.7", ("the server does not offer SMTPUTF8",))  # RFC 6531 §3.5
    if transaction.body == "8bit" and not capabilities.eight_bit_mime:
        return Reply(554, "5.6.3", ("the server does not offer 8BITMIME",))  # RFC 6152 §3
    if transaction.body == "binary" and not (capabilities.binary_mime and capabilities.chunking):
        return Reply(554, "5.6.3", ("the server does not offer BINARYMIME",))  # RFC 3030 §3
    return None


def dsn_mistake(dsn: DsnOptions) -> str:
    """Say why options can't stand in a command; "" when they can. RFC 3461 §4."""
    if dsn.notify and _NOTIFY.fullmatch(dsn.notify) is None:
        return "NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY"
    if len(xtext(dsn.envelope_id)) > _ENVID_OCTETS_MAX:
        return f"ENVID is longer than {_ENVID_OCTETS_MAX} octets"
    if len(xtext(dsn.original_recipient)) > _ORCPT_OCTETS_MAX:
        return f"ORCPT is longer than {_ORCPT_OCTETS_MAX} octets"
    return ""


def from_xtext(text: str) -> str | None:
    """Decode a parameter's value; None when it isn't xtext. RFC 3461 §4."""
    if not text.isascii() or _ENCODED.fullmatch(text.encode()) is None:
        return None
    try:
        return _HEX.sub(lambda one: bytes((int(one[1], 16),)), text.encode()).decode()
    except UnicodeDecodeError:
        return None


def xtext(text: str) -> bytes:
    """Encode a parameter's value so that it holds no space, `+`, `=` or control. RFC 3461 §4, §5.3."""
    octets = text.encode()
    if _XTEXT.fullmatch(octets) is not None:
        return octets
    return b"".join(
        bytes((octet,)) if 33 <= octet <= 126 and octet not in b"+=" else b"+%02X" % octet
        for octet in octets
    )


def _parameter(name: bytes, value: str, octets_max: int) -> bytes:
    if not value:
        return b""
    encoded = xtext(value)
    if len(encoded) > octets_max:
        raise LocalProtocolError(f"{name.decode().strip()} is longer than {octets_max} octets")
    return name + encoded


def _check_path(path: bytes) -> None:
    if len(path) > PATH_OCTETS_MAX or _PATH.fullmatch(path) is None:
        shown = path[:80].decode("utf-8", "backslashreplace")
        raise LocalProtocolError(
            f"not a mailbox that can stand in a command: {shown!r}; expected at most "
            f"{PATH_OCTETS_MAX} octets without controls, spaces or angle brackets outside quotes"
        )
