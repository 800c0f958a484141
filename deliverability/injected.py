"""Messages whose content came with them: how a message names it, and what its envelope needs.

The name of a template is one of the catalog, or a reference to a blob:

- `blob:DIGEST`: a template of the message's own, as JSON (`compose.template.Template`);
- `mail:DIGEST`: a template with attachments, as JSON (`compose.attaching.Assembled`);
- `raw:REFERENCE`: a whole MIME message, checked and completed (`compose.raw`), sent as it is under our signature.

A raw message has no variables for a template, so its envelope's needs travel there, under names that no template of a
marketer can have.
"""

from __future__ import annotations

__all__ = (
    "BLOB",
    "MAIL",
    "RAW",
    "body_of",
    "caller_reverse_path",
    "dsn_of",
    "envelope_variables",
    "is_reference",
    "raw_variables",
    "requires_tls",
    "wants_smtputf8",
)

from typing import Any

from deliverability.smtp.envelope import Body, DsnOptions, dsn_mistake
from engine.vocabulary import Message

BLOB = "blob:"
MAIL = "mail:"
RAW = "raw:"
_REVERSE_PATH = "raw.reverse_path"
_EIGHT_BIT = "raw.eight_bit"
_SMTPUTF8 = "raw.smtputf8"
_REQUIRE_TLS = "raw.require_tls"
_DSN = "raw.dsn"


def is_reference(template: str) -> bool:
    """Tell whether a template's name refers to a blob; no published template may be named so."""
    return template.startswith((BLOB, MAIL, RAW))


def raw_variables(*, reverse_path: str | None, eight_bit: bool, smtputf8: bool) -> dict[str, Any]:
    """Make what a raw message carries. `reverse_path` None: ours, signed; "" is the null reverse-path."""
    variables: dict[str, Any] = {}
    if reverse_path is not None:
        variables[_REVERSE_PATH] = reverse_path
    if eight_bit:
        variables[_EIGHT_BIT] = True
    if smtputf8:
        variables[_SMTPUTF8] = True
    return variables


def envelope_variables(
    *, require_tls: bool = False, dsn: DsnOptions | None = None
) -> dict[str, Any]:
    """Make what the envelope of any message carries to the remote server, beside its paths. RFC 8689, RFC 3461."""
    variables: dict[str, Any] = {}
    if require_tls:
        variables[_REQUIRE_TLS] = True
    if dsn is not None and dsn != DsnOptions():
        variables[_DSN] = [dsn.ret, dsn.envelope_id, dsn.notify, dsn.original_recipient]
    return variables


def requires_tls(message: Message) -> bool:
    """Tell whether a message must not travel but by authenticated TLS, to servers that promise the same. RFC 8689."""
    return message.variables.get(_REQUIRE_TLS) is True


def dsn_of(message: Message) -> DsnOptions | None:
    """Give the notifications that the sender of a raw message asks for; None: the usual ones. RFC 3461."""
    told = message.variables.get(_DSN) if message.template.startswith(RAW) else None
    if not isinstance(told, list) or len(told) != 4 or not all(isinstance(x, str) for x in told):
        return None
    ret, envelope_id, notify, original = told
    if ret not in ("", "FULL", "HDRS"):
        return None
    found = DsnOptions(ret=ret, envelope_id=envelope_id, notify=notify, original_recipient=original)
    return None if dsn_mistake(found) else found


def caller_reverse_path(message: Message) -> str | None:
    """Give the reverse-path that the caller of a raw message wanted kept; None: it is ours to make."""
    if not message.template.startswith(RAW):
        return None
    found = message.variables.get(_REVERSE_PATH)
    return found if isinstance(found, str) else None


def body_of(message: Message, usual: Body) -> Body:
    """Tell the widest octets of the content. RFC 6152 §2."""
    eight_bit = message.template.startswith(RAW) and message.variables.get(_EIGHT_BIT) is True
    return "8bit" if eight_bit and usual == "7bit" else usual


def wants_smtputf8(message: Message) -> bool:
    """Tell whether address or header section need RFC 6531."""
    if not message.address.isascii():
        return True
    return message.template.startswith(RAW) and message.variables.get(_SMTPUTF8) is True
