"""How providers word what they mean: for each dialect and cause a reply, with their codes.

Codes, enhanced status codes and tags are facts of the field (postmaster pages, bounce corpora);
the sentences are ours. `{source}`, `{recipient}`, `{domain}`, `{wait_s}` and `{zone}` are filled
in.
"""

from __future__ import annotations

__all__ = ("DIALECTS", "Cause", "Dialect", "DialectName", "reply")

from collections.abc import Mapping
from typing import Literal

import msgspec

from deliverability.smtp.reply import Reply

Cause = Literal[
    "blocklisted",
    "closing",
    "disabled",
    "full",
    "greylisted",
    "growth",
    "quota",
    "relay_denied",
    "reputation",
    "reputation_lost",
    "temporary",
    "tls_required",
    "too_many_connections",
    "too_many_mails",
    "unauthenticated",
    "unknown",
]

DialectName = Literal["plain", "gmail", "microsoft", "yahoo", "wp", "onet"]


class Dialect(msgspec.Struct, frozen=True):
    """One way of speaking. A cause that isn't in `replies` is worded as in the plain dialect."""

    greeting: str
    recipient_ok: Reply
    taken: Reply
    replies: Mapping[Cause, Reply]


def reply(dialect: DialectName, cause: Cause, values: Mapping[str, str]) -> Reply:
    """Word a cause in a dialect."""
    replies = DIALECTS[dialect].replies
    template = replies.get(cause) or _PLAIN[cause]
    lines = tuple(line.format_map(values) if "{" in line else line for line in template.lines)
    return Reply(template.code, template.enhanced, lines)


def _reply(code: int, enhanced: str, *lines: str) -> Reply:
    return Reply(code, enhanced, lines)


_PLAIN: Mapping[Cause, Reply] = {
    "blocklisted": _reply(
        554, "5.7.1", "Service unavailable; client host [{source}] is blocked using {zone}"
    ),
    "closing": _reply(421, "4.3.2", "Shutting down for maintenance, closing transmission channel"),
    "disabled": _reply(550, "5.2.1", "<{recipient}>: mailbox disabled, not accepting messages"),
    "full": _reply(452, "4.2.2", "<{recipient}>: mailbox is over quota, try again later"),
    "greylisted": _reply(
        451, "4.7.1", "<{recipient}>: greylisted, please come back in {wait_s} seconds"
    ),
    "growth": _reply(
        451, "4.7.1", "Sudden growth of mail from [{source}]; slow down and try again later"
    ),
    "quota": _reply(451, "4.7.1", "Sending rate limit exceeded for [{source}], try again later"),
    "relay_denied": _reply(550, "5.7.1", "<{recipient}>: relay access denied"),
    "reputation": _reply(
        451, "4.7.1", "Too many unknown recipients from [{source}], temporarily deferred"
    ),
    "reputation_lost": _reply(
        554, "5.7.1", "Mail from [{source}] is refused because of its poor reputation"
    ),
    "temporary": _reply(451, "4.3.0", "Temporary lookup failure, try again later"),
    "tls_required": _reply(530, "5.7.0", "Must issue a STARTTLS command first"),
    "too_many_connections": _reply(
        421, "4.7.0", "Too many concurrent connections from [{source}], closing"
    ),
    "too_many_mails": _reply(421, "4.7.0", "Too many messages on this connection, closing"),
    "unauthenticated": _reply(550, "5.7.1", "Message without a DKIM signature is not accepted"),
    "unknown": _reply(550, "5.1.1", "<{recipient}>: recipient unknown in {domain}"),
}

_GMAIL: Mapping[Cause, Reply] = {
    "blocklisted": _reply(
        550,
        "5.7.1",
        "[{source}] The sending address has a very low reputation, so this",
        "message was blocked to protect our users. - gsmtp",
    ),
    "closing": _reply(421, "4.7.0", "Try later, the connection is being closed. - gsmtp"),
    "disabled": _reply(550, "5.2.1", "This account is disabled and takes no mail. - gsmtp"),
    "full": _reply(
        452, "4.2.2", "The recipient is out of storage space and over quota for now. - gsmtp"
    ),
    "greylisted": _reply(421, "4.7.0", "[{source}] Try again later. - gsmtp"),
    "growth": _reply(
        421,
        "4.7.28",
        "[{source}] An unusual rate of mail comes from your IP address.",
        "It was temporarily rate limited to protect our users. - gsmtp",
    ),
    "quota": _reply(
        421,
        "4.7.28",
        "[{source}] An unusual rate of mail comes from your domain or address;",
        "mail was temporarily rate limited. See the bulk sender guidelines. - gsmtp",
    ),
    "reputation": _reply(
        421, "4.7.0", "[{source}] Rate limited: too much of this mail looks unsolicited. - gsmtp"
    ),
    "reputation_lost": _reply(
        550, "5.7.1", "[{source}] Blocked: this mail is likely unsolicited. - gsmtp"
    ),
    "temporary": _reply(451, "4.3.0", "The mail server is temporarily rejecting this. - gsmtp"),
    "tls_required": _reply(530, "5.7.0", "STARTTLS has to come first. - gsmtp"),
    "too_many_connections": _reply(
        421, "4.7.0", "[{source}] Too many connections at one time, try again later. - gsmtp"
    ),
    "too_many_mails": _reply(421, "4.7.0", "Connection expired, please reconnect. - gsmtp"),
    "unauthenticated": _reply(
        550,
        "5.7.26",
        "This mail is unauthenticated; senders must sign with DKIM or pass SPF.",
        "DKIM = did not pass - gsmtp",
    ),
    "unknown": _reply(
        550,
        "5.1.1",
        "The account <{recipient}> does not exist. Look for typing",
        "errors or unneeded spaces in the address. - gsmtp",
    ),
}

_MICROSOFT: Mapping[Cause, Reply] = {
    "blocklisted": _reply(
        550,
        "5.7.1",
        "Mail from IP [{source}] wasn't sent: part of its network is on our block list (S3150).",
    ),
    "closing": _reply(421, "4.3.2", "Service not active"),
    "disabled": _reply(550, "5.2.1", "Mailbox disabled; it can't be used for this recipient"),
    "full": _reply(452, "4.2.2", "Mailbox full; STOREDRV quota exceeded for <{recipient}>"),
    "greylisted": _reply(451, "4.7.500", "Server busy. Please try again later from [{source}]"),
    "growth": _reply(
        451, "4.7.650", "The mail server [{source}] is temporarily rate limited: IP reputation"
    ),
    "quota": _reply(
        451, "4.7.651", "The mail server [{source}] has been temporarily rate limited (S775)"
    ),
    "reputation": _reply(
        451, "4.7.650", "The mail server [{source}] is temporarily rate limited: IP reputation"
    ),
    "reputation_lost": _reply(550, "5.7.606", "Access denied, banned sending IP [{source}]"),
    "temporary": _reply(451, "4.3.2", "Temporary server error. Please try again later. PRX2"),
    "too_many_connections": _reply(
        451, "4.7.652", "The mail server [{source}] exceeded the maximum number of connections"
    ),
    "too_many_mails": _reply(421, "4.4.2", "Message submission rate for this connection exceeded"),
    "unauthenticated": _reply(
        550,
        "5.7.515",
        "Access denied: the sending domain doesn't meet the required authentication level",
    ),
    "unknown": _reply(
        550, "5.5.0", "Requested action not taken: mailbox unavailable (S2017062302)"
    ),
}

_YAHOO: Mapping[Cause, Reply] = {
    "blocklisted": _reply(553, "5.7.1", "[BL21] Connections from {source} refused: block list"),
    "disabled": _reply(554, "", "delivery error: dd This user's account is disabled [-10]"),
    "full": _reply(452, "4.2.2", "Mailbox over its storage limit: {recipient}"),
    "greylisted": _reply(451, "4.7.1", "[GL01] Mail from {source} is temporarily deferred"),
    "growth": _reply(
        421, "4.7.0", "[TSS04] Mail from {source} temporarily deferred: unexpected volume"
    ),
    "quota": _reply(
        421, "4.7.0", "[TSS04] Mail from {source} temporarily deferred: unexpected volume"
    ),
    "reputation": _reply(
        421, "4.7.0", "[TSS05] Mail from {source} temporarily deferred: user complaints"
    ),
    "reputation_lost": _reply(554, "5.7.9", "[TSS11] All mail from {source} is deferred for good"),
    "temporary": _reply(
        451, "4.3.0", "Resources temporarily unavailable, try again later [#4.16.1]"
    ),
    "too_many_connections": _reply(421, "4.7.1", "[TS02] Too many connections from {source}"),
    "too_many_mails": _reply(421, "4.7.0", "Max message per connection reached, closing"),
    "unknown": _reply(554, "", "delivery error: dd No account here by that name: {recipient} [-5]"),
}

_WP: Mapping[Cause, Reply] = {
    "blocklisted": _reply(550, "5.7.1", "Host {source} is on our list of spam sources"),
    "full": _reply(452, "4.2.2", "Skrzynka {recipient} przepelniona / mailbox full"),
    "greylisted": _reply(450, "4.7.1", "<{recipient}>: try again in {wait_s} s"),
    "growth": _reply(470, "", "Host {source} sent too many messages, try again tomorrow"),
    "quota": _reply(470, "", "Host {source} sent too many messages, try again later"),
    "reputation": _reply(470, "", "Host {source}: too many wrong recipients, try again later"),
    "too_many_connections": _reply(421, "", "Too many connections from {source}, closing"),
    "unknown": _reply(550, "5.1.1", "Nie ma takiego uzytkownika / no such user: {recipient}"),
}

_ONET: Mapping[Cause, Reply] = {
    "full": _reply(452, "4.2.2", "<{recipient}>: quota of the mailbox exceeded"),
    "greylisted": _reply(450, "4.7.1", "<{recipient}>: recipient rejected for now: greylisting"),
    "growth": _reply(450, "4.7.1", "Mail from {source} deferred, rule #CR-IN-DEF-2"),
    "quota": _reply(450, "4.7.1", "Mail from {source} deferred, rule #CR-IN-DEF-2"),
    "unknown": _reply(550, "5.1.1", "<{recipient}>: no such mailbox at this address"),
}

_OK = _reply(250, "2.1.5", "Ok")
_TAKEN = _reply(250, "2.0.0", "Ok")

DIALECTS: Mapping[DialectName, Dialect] = {
    "plain": Dialect("ESMTP Postfix-like twin", _OK, _TAKEN, _PLAIN),
    "gmail": Dialect(
        "ESMTP twin - gsmtp",
        _reply(250, "2.1.5", "OK - gsmtp"),
        _reply(250, "2.0.0", "OK - gsmtp"),
        _GMAIL,
    ),
    "microsoft": Dialect(
        "Microsoft-like ESMTP MAIL Service twin ready",
        _reply(250, "2.1.5", "Recipient OK"),
        _reply(250, "2.6.0", "Queued mail for delivery"),
        _MICROSOFT,
    ),
    "yahoo": Dialect(
        "twin ESMTP ready", _reply(250, "", "recipient ok"), _reply(250, "", "ok dirdel"), _YAHOO
    ),
    "wp": Dialect("ESMTP wp-like twin", _reply(250, "", "ok"), _reply(250, "", "ok"), _WP),
    "onet": Dialect("ESMTP onet-like twin", _OK, _TAKEN, _ONET),
}
