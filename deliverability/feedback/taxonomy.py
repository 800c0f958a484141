"""The three axes of an answer: cause, blame and action, and how they map to other vocabularies.

Every other system fuses *what happened*, *whose fault it is* and *what to do now* into one list of classes. Here
they are three: a `Cause` says what the other side complained of, a `Blame` who must change something, an `Action`
what the sender does with the next message. A cause has a usual blame and action (`MEANINGS`); permanence is a fact
of the single reply (4yz or 5yz, RFC 5321 §4.2.1) and not of the cause.

`hard` marks causes that say the *address* is dead, so that one occurrence suffices to suppress it. A permanent
reply
is not yet a hard bounce: a 554 for spam content condemns the message, not the recipient.

The mapping onto Sisimai's reasons and KumoMTA's bounce classes is many to one and fixed here; it was written
before anything was scored against them.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ("BLOCKS", "MEANINGS", "STATUS", "THROTTLES", "Action", "Blame", "Cause", "Meaning")


class Cause(StrEnum):
    """What the other side (or our own network) complained of."""

    MAILBOX_UNKNOWN = "mailbox-unknown"
    ADDRESS_INVALID = "address-invalid"
    MAILBOX_MOVED = "mailbox-moved"
    MAILBOX_DISABLED = "mailbox-disabled"
    MAILBOX_FULL = "mailbox-full"
    MAILBOX_BUSY = "mailbox-busy"
    RECIPIENT_REFUSED = "recipient-refused"
    DOMAIN_UNKNOWN = "domain-unknown"
    DOMAIN_UNROUTABLE = "domain-unroutable"
    DOMAIN_REFUSES_MAIL = "domain-refuses-mail"
    DNS_FAILURE = "dns-failure"
    NETWORK_FAILURE = "network-failure"
    ROUTING_LOOP = "routing-loop"
    CONNECTION_REFUSED = "connection-refused"
    TIMED_OUT = "timed-out"
    TLS_FAILED = "tls-failed"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    TOO_MANY_RECIPIENTS = "too-many-recipients"
    SENDING_TOO_FAST = "sending-too-fast"
    VOLUME_OR_COMPLAINTS = "volume-or-complaints"
    GREYLISTED = "greylisted"
    HOST_BLOCKED = "host-blocked"
    HOST_LISTED = "host-listed"
    LOW_REPUTATION = "low-reputation"
    PTR_MISSING = "ptr-missing"
    SENDER_REFUSED = "sender-refused"
    AUTHENTICATION_FAILED = "authentication-failed"
    SPAM_CONTENT = "spam-content"
    VIRUS = "virus"
    POLICY = "policy"
    CONTENT_MALFORMED = "content-malformed"
    NOT_RFC_COMPLIANT = "not-rfc-compliant"
    MESSAGE_TOO_LARGE = "message-too-large"
    LIMIT_EXCEEDED = "limit-exceeded"
    RELAY_DENIED = "relay-denied"
    ACCESS_DENIED = "access-denied"
    PROTOCOL_ERROR = "protocol-error"
    SYSTEM_ERROR = "system-error"
    SYSTEM_FULL = "system-full"
    MAILER_FAILED = "mailer-failed"
    TEMPORARY_UNSAID = "temporary-unsaid"
    UNDETERMINED = "undetermined"
    DELIVERED = "delivered"
    AUTO_REPLY = "auto-reply"
    CHALLENGE = "challenge"
    COMPLAINT = "complaint"


class Blame(StrEnum):
    """Who must change something before this works."""

    RECIPIENT = "recipient"
    RECIPIENT_DOMAIN = "recipient-domain"
    OUR_SOURCE = "our-source"
    OUR_DOMAIN = "our-domain"
    OUR_VOLUME = "our-volume"
    CONTENT = "content"
    THEIR_HOST = "their-host"
    NETWORK = "network"
    OURSELVES = "ourselves"
    NOBODY = "nobody"


class Action(StrEnum):
    """What a sender does next."""

    SUPPRESS = "suppress"
    SUPPRESS_AFTER_REPEATS = "suppress-after-repeats"
    RETRY = "retry"
    RETRY_LATER = "retry-later"
    SLOW_DOWN = "slow-down"
    PAUSE_SOURCE = "pause-source"
    PAUSE_STREAM = "pause-stream"
    FIX_AND_ALERT = "fix-and-alert"
    NOTHING = "nothing"


class Meaning(msgspec.Struct, frozen=True):
    """The usual reading of one cause: the other two axes and the other vocabularies."""

    blame: Blame
    action: Action
    sisimai: str
    kumomta: str
    hard: bool
    says: str


def _meaning(
    blame: Blame, action: Action, sisimai: str, kumomta: str, says: str, *, hard: bool = False
) -> Meaning:
    return Meaning(
        blame=blame, action=action, sisimai=sisimai, kumomta=kumomta, hard=hard, says=says
    )


MEANINGS: dict[Cause, Meaning] = {
    Cause.MAILBOX_UNKNOWN: _meaning(
        Blame.RECIPIENT,
        Action.SUPPRESS,
        "userunknown",
        "InvalidRecipient",
        "no mailbox has this address",
        hard=True,
    ),
    Cause.ADDRESS_INVALID: _meaning(
        Blame.RECIPIENT,
        Action.SUPPRESS,
        "userunknown",
        "InvalidRecipient",
        "the address cannot be one: its syntax is refused",
        hard=True,
    ),
    Cause.MAILBOX_MOVED: _meaning(
        Blame.RECIPIENT,
        Action.SUPPRESS,
        "hasmoved",
        "InvalidRecipient",
        "the mailbox has moved and nothing is forwarded",
        hard=True,
    ),
    Cause.MAILBOX_DISABLED: _meaning(
        Blame.RECIPIENT,
        Action.SUPPRESS_AFTER_REPEATS,
        "suspend",
        "InactiveMailbox",
        "the mailbox exists but is suspended, frozen or abandoned",
    ),
    Cause.MAILBOX_FULL: _meaning(
        Blame.RECIPIENT,
        Action.SUPPRESS_AFTER_REPEATS,
        "mailboxfull",
        "QuotaIssues",
        "the mailbox is over its quota",
    ),
    Cause.MAILBOX_BUSY: _meaning(
        Blame.RECIPIENT,
        Action.RETRY_LATER,
        "speeding",
        "QuotaIssues",
        "this one mailbox receives mail faster than it may",
    ),
    Cause.RECIPIENT_REFUSED: _meaning(
        Blame.RECIPIENT,
        Action.SUPPRESS_AFTER_REPEATS,
        "filtered",
        "InvalidRecipient",
        "the recipient was refused where existing mailboxes are refused too (after DATA, by a filter)",
    ),
    Cause.DOMAIN_UNKNOWN: _meaning(
        Blame.RECIPIENT_DOMAIN,
        Action.SUPPRESS,
        "hostunknown",
        "BadDomain",
        "the domain or its mail host does not exist",
        hard=True,
    ),
    Cause.DOMAIN_UNROUTABLE: _meaning(
        Blame.RECIPIENT_DOMAIN,
        Action.SUPPRESS,
        "hostunknown",
        "RoutingErrors",
        "no route leads to the domain: the reporting host knows no next hop",
        hard=True,
    ),
    Cause.DOMAIN_REFUSES_MAIL: _meaning(
        Blame.RECIPIENT_DOMAIN,
        Action.SUPPRESS,
        "notaccept",
        "BadDomain",
        "the domain accepts no mail at all (null MX, 521)",
        hard=True,
    ),
    Cause.DNS_FAILURE: _meaning(
        Blame.NETWORK,
        Action.RETRY_LATER,
        "networkerror",
        "DNSFailure",
        "the name could not be looked up just now, or its records are unusable",
    ),
    Cause.NETWORK_FAILURE: _meaning(
        Blame.NETWORK,
        Action.RETRY_LATER,
        "networkerror",
        "BadConnection",
        "no connection could be made or kept",
    ),
    Cause.CONNECTION_REFUSED: _meaning(
        Blame.THEIR_HOST,
        Action.RETRY_LATER,
        "blocked",
        "BadConnection",
        "their host refused the connection or dropped it at once",
    ),
    Cause.ROUTING_LOOP: _meaning(
        Blame.RECIPIENT_DOMAIN,
        Action.RETRY_LATER,
        "networkerror",
        "RoutingErrors",
        "the message went round in circles",
    ),
    Cause.TIMED_OUT: _meaning(
        Blame.THEIR_HOST,
        Action.SUPPRESS_AFTER_REPEATS,
        "expired",
        "MessageExpired",
        "nobody answered until the message was too old",
    ),
    Cause.TLS_FAILED: _meaning(
        Blame.NETWORK,
        Action.FIX_AND_ALERT,
        "failedstarttls",
        "BadConfiguration",
        "TLS was demanded and could not be had",
    ),
    Cause.TOO_MANY_CONNECTIONS: _meaning(
        Blame.OUR_VOLUME,
        Action.SLOW_DOWN,
        "toomanyconn",
        "BadConnection",
        "too many connections at once or in a period",
    ),
    Cause.TOO_MANY_RECIPIENTS: _meaning(
        Blame.OURSELVES,
        Action.RETRY,
        "toomanyconn",
        "TooManyRecipients",
        "more recipients than one transaction may have",
    ),
    Cause.SENDING_TOO_FAST: _meaning(
        Blame.OUR_VOLUME,
        Action.SLOW_DOWN,
        "speeding",
        "TransientFailure",
        "a rate was exceeded",
    ),
    Cause.VOLUME_OR_COMPLAINTS: _meaning(
        Blame.OUR_VOLUME,
        Action.SLOW_DOWN,
        "rejected",
        "SpamBlock",
        "put off because of unexpected volume or complaints of users",
    ),
    Cause.GREYLISTED: _meaning(
        Blame.NOBODY,
        Action.RETRY,
        "blocked",
        "TransientFailure",
        "the first attempt is always put off here",
    ),
    Cause.HOST_BLOCKED: _meaning(
        Blame.OUR_SOURCE,
        Action.PAUSE_SOURCE,
        "blocked",
        "SpamBlock",
        "the receiving side refuses our address or host name",
    ),
    Cause.HOST_LISTED: _meaning(
        Blame.OUR_SOURCE,
        Action.PAUSE_SOURCE,
        "blocked",
        "SpamBlock",
        "our address is on a block list",
    ),
    Cause.LOW_REPUTATION: _meaning(
        Blame.OUR_SOURCE,
        Action.PAUSE_SOURCE,
        "badreputation",
        "SpamBlock",
        "the reputation of our address or domain is too low",
    ),
    Cause.PTR_MISSING: _meaning(
        Blame.OUR_SOURCE,
        Action.FIX_AND_ALERT,
        "requireptr",
        "BadConfiguration",
        "our address has no PTR record, or it does not match",
    ),
    Cause.SENDER_REFUSED: _meaning(
        Blame.OUR_DOMAIN,
        Action.FIX_AND_ALERT,
        "rejected",
        "InvalidSender",
        "the reverse-path or author is refused",
    ),
    Cause.AUTHENTICATION_FAILED: _meaning(
        Blame.OUR_DOMAIN,
        Action.PAUSE_STREAM,
        "authfailure",
        "AuthenticationFailed",
        "SPF, DKIM or DMARC did not pass",
    ),
    Cause.SPAM_CONTENT: _meaning(
        Blame.CONTENT,
        Action.PAUSE_STREAM,
        "spamdetected",
        "SpamContent",
        "the content looks like spam",
    ),
    Cause.VIRUS: _meaning(
        Blame.CONTENT,
        Action.FIX_AND_ALERT,
        "virusdetected",
        "VirusRelated",
        "the content looks like malware",
    ),
    Cause.POLICY: _meaning(
        Blame.CONTENT,
        Action.FIX_AND_ALERT,
        "policyviolation",
        "PolicyRelated",
        "a policy of the receiving side forbids it",
    ),
    Cause.CONTENT_MALFORMED: _meaning(
        Blame.CONTENT,
        Action.FIX_AND_ALERT,
        "contenterror",
        "ContentRelated",
        "the content is broken: MIME, header, encoding",
    ),
    Cause.NOT_RFC_COMPLIANT: _meaning(
        Blame.CONTENT,
        Action.FIX_AND_ALERT,
        "notcompliantrfc",
        "ContentRelated",
        "the message violates RFC 5321 or 5322",
    ),
    Cause.MESSAGE_TOO_LARGE: _meaning(
        Blame.CONTENT,
        Action.FIX_AND_ALERT,
        "mesgtoobig",
        "ContentRelated",
        "the message is larger than the host takes",
    ),
    Cause.LIMIT_EXCEEDED: _meaning(
        Blame.CONTENT,
        Action.FIX_AND_ALERT,
        "exceedlimit",
        "QuotaIssues",
        "the message exceeds a limit of this recipient or of a header",
    ),
    Cause.RELAY_DENIED: _meaning(
        Blame.OURSELVES,
        Action.SUPPRESS_AFTER_REPEATS,
        "norelaying",
        "RelayDenied",
        "the host does not relay for this domain, or not for us",
    ),
    Cause.ACCESS_DENIED: _meaning(
        Blame.OURSELVES,
        Action.FIX_AND_ALERT,
        "securityerror",
        "PolicyRelated",
        "a log-in, encryption or permission is missing",
    ),
    Cause.PROTOCOL_ERROR: _meaning(
        Blame.OURSELVES,
        Action.FIX_AND_ALERT,
        "syntaxerror",
        "ProtocolErrors",
        "a command was not understood or came out of order",
    ),
    Cause.SYSTEM_ERROR: _meaning(
        Blame.THEIR_HOST,
        Action.RETRY_LATER,
        "systemerror",
        "TransientFailure",
        "their host is broken or misconfigured",
    ),
    Cause.SYSTEM_FULL: _meaning(
        Blame.THEIR_HOST,
        Action.RETRY_LATER,
        "systemfull",
        "TransientFailure",
        "their host has no room",
    ),
    Cause.MAILER_FAILED: _meaning(
        Blame.THEIR_HOST,
        Action.RETRY_LATER,
        "mailererror",
        "TransientFailure",
        "a program behind the mailbox failed",
    ),
    Cause.TEMPORARY_UNSAID: _meaning(
        Blame.THEIR_HOST,
        Action.RETRY,
        "onhold",
        "TransientFailure",
        "put off without a reason",
    ),
    Cause.UNDETERMINED: _meaning(
        Blame.NOBODY,
        Action.NOTHING,
        "onhold",
        "Uncategorized",
        "nothing that any rule knows",
    ),
    Cause.DELIVERED: _meaning(
        Blame.NOBODY,
        Action.NOTHING,
        "delivered",
        "Uncategorized",
        "delivered, relayed or expanded",
    ),
    Cause.AUTO_REPLY: _meaning(
        Blame.NOBODY,
        Action.NOTHING,
        "vacation",
        "AutoReply",
        "a machine answers for a person",
    ),
    Cause.CHALLENGE: _meaning(
        Blame.RECIPIENT,
        Action.SUPPRESS_AFTER_REPEATS,
        "vacation",
        "ChallengeResponse",
        "a machine wants proof that a person sent this",
    ),
    Cause.COMPLAINT: _meaning(
        Blame.OUR_VOLUME,
        Action.SUPPRESS,
        "feedback",
        "SpamRelated",
        "the recipient, or a provider for them, complained",
    ),
}


STATUS: dict[Cause, str] = {
    Cause.MAILBOX_UNKNOWN: "1.1",
    Cause.ADDRESS_INVALID: "1.3",
    Cause.MAILBOX_MOVED: "1.6",
    Cause.MAILBOX_DISABLED: "2.1",
    Cause.MAILBOX_FULL: "2.2",
    Cause.MAILBOX_BUSY: "2.0",
    Cause.RECIPIENT_REFUSED: "2.0",
    Cause.DOMAIN_UNKNOWN: "1.2",
    Cause.DOMAIN_UNROUTABLE: "4.4",
    Cause.DOMAIN_REFUSES_MAIL: "1.10",
    Cause.DNS_FAILURE: "4.3",
    Cause.NETWORK_FAILURE: "4.1",
    Cause.CONNECTION_REFUSED: "4.1",
    Cause.ROUTING_LOOP: "4.6",
    Cause.TIMED_OUT: "4.7",
    Cause.TOO_MANY_RECIPIENTS: "5.3",
    Cause.PTR_MISSING: "7.25",
    Cause.SENDER_REFUSED: "1.8",
    Cause.AUTHENTICATION_FAILED: "7.26",
    Cause.SPAM_CONTENT: "7.1",
    Cause.VIRUS: "7.1",
    Cause.POLICY: "7.1",
    Cause.HOST_BLOCKED: "7.1",
    Cause.HOST_LISTED: "7.1",
    Cause.LOW_REPUTATION: "7.1",
    Cause.ACCESS_DENIED: "7.1",
    Cause.RELAY_DENIED: "7.1",
    Cause.CONTENT_MALFORMED: "6.0",
    Cause.NOT_RFC_COMPLIANT: "6.0",
    Cause.MESSAGE_TOO_LARGE: "3.4",
    Cause.LIMIT_EXCEEDED: "2.3",
    Cause.PROTOCOL_ERROR: "5.0",
    Cause.SYSTEM_ERROR: "3.0",
    Cause.SYSTEM_FULL: "3.1",
    Cause.MAILER_FAILED: "3.0",
}
"""Subject and detail (RFC 3463, IANA registry) nearest to a cause, for bounces that quote no enhanced code."""

BLOCKS: tuple[Cause, ...] = (
    Cause.HOST_BLOCKED,
    Cause.HOST_LISTED,
    Cause.LOW_REPUTATION,
    Cause.VOLUME_OR_COMPLAINTS,
    Cause.SPAM_CONTENT,
    Cause.AUTHENTICATION_FAILED,
    Cause.PTR_MISSING,
    Cause.SENDER_REFUSED,
    Cause.POLICY,
)
"""Causes that mean: this mail or its source isn't wanted, whoever the recipient is."""

THROTTLES: tuple[Cause, ...] = tuple(
    cause for cause, meaning in MEANINGS.items() if meaning.action is Action.SLOW_DOWN
)
"""Causes that ask for a slower pace."""
