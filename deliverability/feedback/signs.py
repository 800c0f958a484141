"""The signs by which a mail shows what it is: a bounce, a delay, an automatic reply, a challenge, or none of these.

Signs are weighed, since none is reliable alone: bounces come from people's addresses, and automatic replies
with the null reverse-path.
"""

from __future__ import annotations

import re

from deliverability.feedback.mime import Header, decode_words

__all__ = (
    "bounce_weight",
    "is_auto_reply",
    "is_challenge",
    "says_delayed",
    "says_delivered",
)

_LOOKED_AT = 4_000
_DAEMON = re.compile(
    r"mailer-?daemon|postmaster|mail ?delivery|mail ?administrator|mail ?system|mdaemon|delivery ?(?:subsystem"
    r"|system|service|agent)|postoffice|no-?reply@.*(?:mail|bounce)|mmsc|mailer@|\bbounce",
)
_BOUNCE_SUBJECT = re.compile(
    r"undeliver|delivery (?:status|failure|failed|problem|error|report|has failed|notification|unsuccessful"
    r"|warning|delay)|(?:mail|message|nachricht|e-?mail)[\w ]{0,20}(?:delivery|failure|failed|not delivered"
    r"|undelivered|could not|system error|status report|returned)|returned mail|failure notice|mail failed"
    r"|returned to sender|non ?delivery|not? ?delivered|delivery of|couldn't be delivered|loop alert|rejected"
    r"|bounced|bounce|unzustellbar|nicht zustellbar|niet afgeleverd|non remis|échec|no entregado"
    r"|nie dostarczon|zwrot|mancata consegna|user unknown|mail error|could not send|unable to deliver"
    r"|problem delivering|error sending|message status|notice: mail delivery|配信|送信|エラー|не доставлен",
)
_DELAY = re.compile(
    r"(?:has|have|been|was|is|message|delivery|mail)\b[\w ,]{0,30}\b(?:delayed|deferred)\b|(?:delivery|message"
    r"|mail) delay|delay(?:ed)? (?:notification|mail|delivery)|warning: (?:could not|message|mail)"
    r"|this is a warning message|warning message only|not yet (?:been )?(?:delivered|able)|"
    r"will (?:be )?(?:retried|continue|keep|try|retry|attempt)|still (?:undelivered|trying|being)|(?:no action"
    r"|need not|do not need to|not need to) (?:is required|resend|re-?send)"
    r"|(?:delivery )?attempts (?:will continue|to deliver)|keep trying|temporar\w+ (?:problem|failure|delay)"
    r"|retry for|delivery temporarily|continue to (?:be )?(?:tr|attempt|deliver)|verzögert|retardé|opóźnion",
)
_GAVE_UP = re.compile(
    r"permanent(?:ly)?|given up|gave up|giving up|will not (?:be retried|continue|try)|no further"
    r"|undeliverable|could not be delivered|cannot be delivered|was not delivered|returned to sender"
    r"|(?:has been|was) returned|(?<!yet )(?:not|n't) been delivered|no longer valid|failed permanently"
    r"|will be deleted|fatal error|not going to try again|has failed|unable to deliver|rejected",
)
_DELAY_STEMS = (
    *(
        "delay",
        "deferred",
        "warning",
        "not yet",
        "will ",
        "still ",
        "need",
        "no action",
        "attempts ",
    ),
    *("keep trying", "temporar", "retry for", "continue to", "verzögert", "retardé", "opóźnion"),
)
_STRONG_STEMS = (
    "warning",
    "re-send",
    "resend",
    "delay",
    "not ",
    "will be retried",
    "delivery attempts",
)
"""Of these, one at least is in every text that the pattern matches: most mails are spared the search."""
_STRONG_DELAY = re.compile(
    r"this is a warning message only|do not need to re-?send|delivery status notification \(delay\)"
    r"|warning: (?:could not|message still|mail delayed)|delayed mail \(still"
    r"|message[^.\n]{0,60}has not (?:yet )?been delivered|has been delayed|not yet been delivered"
    r"|will be retried for|delivery attempts will continue"
    r"|delivery to the following recipients? has been delayed",
)
_FAILED = re.compile(
    r"(?:not|n't|unable to|cannot|could not|failed to|fail to) (?:be )?(?:deliver|sent|send|reach|relay"
    r"|transmit|accept|save)|undeliver|delivery (?:failed|failure|problem|to the following|error|has failed"
    r"|of this message)|(?:was|were|been|is) (?:rejected|refused|returned|bounced|discarded|not delivered"
    r"|not relayed)|permanent (?:fatal )?error|permanent failure|fatal errors|failed (?:permanently|addresses"
    r"|recipients?)|"
    r"duplicated message-id|returned (?:mail|message|to sender)|bounced|failure reasons?|not (?:found|listed"
    r"|known)|rejected recipient|trouble delivering|does not exist|user unknown|unknown user|delivery errors"
    r"|delivery problems|nicht (?:zugestellt|zustellbar)|no (?:ha podido|se pudo|pudo)|n'a pas (?:pu|été)"
    r"|nie (?:może|mogła|została) (?:być |)dostarczon|не (?:может быть|была|удалось) доставл"
    r"|配信でき|送信でき|送信に失敗",
)
_DELIVERED = re.compile(
    r"(?:successfully|has been|was) (?:delivered|relayed)|delivery status notification \(success\)"
    r"|successful mail delivery|delivered to the following|return receipt|successful delivery",
)
_REPLY_SUBJECT = re.compile(
    r"^\s*(?:auto(?:matic|mated|matische|\.)?[- ]?(?:re(?:ply|sponse|sp)|answer|antwort)|autoreply|auto:"
    r"|out of (?:the )?office|ooo\b|abwesen|vacation|on vacation|away from|réponse automatique"
    r"|risposta automatica|respuesta automática|resposta automática|automatisch antwoord|autosvar"
    r"|automatyczna odpowied|poza biurem|nieobecn|odpowiedź automatyczna|urlop|i am (?:away|out|on)"
    r"|i'm (?:away|out)|re: .*\((?:automatic|auto)|автоответ|自動返信|不在|thank you for (?:your |you )?(?:e-?mail"
    r"|message|contacting)|your (?:e-?mail|message) (?:was|has been) received|absence|assent|fuera de|afwezig)"
    r"|\((?:automatic response|auto(?:matic)? ?reply)\)|auto-?reply|out of office",
)
_REPLY_BODY = re.compile(
    r"(?:i am|i'm|i will be|i shall be|currently) (?:currently |now )?(?:away|out of (?:the )?office"
    r"|on (?:vacation|leave|holiday|annual leave|maternity)|travel|unavailable|not in the office)"
    r"|out of (?:the )?office|on vacation|(?:this is an? )?(?:automat\w+) (?:reply|response|generated reply)"
    r"|will (?:reply|respond|answer) (?:to you )?(?:as soon|when|upon)|back in the office|no longer (?:monitor"
    r"|check)|nie ma mnie|jestem na urlopie|przebywam na urlopie|ich bin (?:derzeit|zur zeit|momentan|bis|ab)"
    r"|je suis (?:absent|en congé)|maternity leave|limited access to (?:my )?e?-?mail|sono (?:assente|fuori)"
    r"|estoy fuera|休暇|不在",
)
_CHALLENGE = re.compile(
    r"(?:confirm|verif\w+|prove|validate|authenticate)\b[^.\n]{0,80}\b(?:your (?:message|email|e-mail|address"
    r"|request)|you are|that you|human|person|sender)|(?:boxbe|spamarrest|spam arrest|earthlink|tmda"
    r"|bluebottle|mailblocks|challenge[- ]response|uol antispam|whitelist)|click (?:the|this|on the)? ?(?:link"
    r"|here|below)[^.\n]{0,60}(?:deliver|confirm|approve|release)|requires? (?:verification|confirmation"
    r"|authorization)|approved senders|not (?:yet )?on my (?:approved|guest|allowed)",
)
_CHALLENGE_SUBJECT = re.compile(
    r"confirm|verif|challenge|request(?:ing)? (?:for )?authorization|(?:action|verification) required"
    r"|is (?:this )?spam|one[- ]time",
)


def bounce_weight(header: Header, prose: str) -> int:
    """How strongly a mail looks like a bounce: 3 or more is one."""
    sender = (decode_words(header.get("from")) + " " + header.get("sender")).lower()
    subject = decode_words(header.get("subject")).lower()
    path = header.get("return-path").strip().lower()
    weight = 0
    if header.get("x-failed-recipients"):
        weight += 3
    if "delivery-status" in header.get("content-type").lower():
        weight += 2
    if _DAEMON.search(sender) or "<>" in sender:
        weight += 2
    if path in ("<>", "<mailer-daemon>", "mailer-daemon") or "mailer-daemon" in path:
        weight += 1
    if _BOUNCE_SUBJECT.search(subject):
        weight += 2
    if _FAILED.search(_start(prose)):
        weight += 2
    if header.get("auto-submitted").lower().startswith("auto-generated"):
        weight += 1
    return weight


def is_auto_reply(header: Header, prose: str) -> bool:
    """Say whether a machine answers for a person (RFC 3834), and no machine for a machine."""
    subject = decode_words(header.get("subject")).lower()
    submitted = header.get("auto-submitted").lower()
    marked = submitted.startswith(("auto-replied", "auto-notified")) or bool(
        header.get("x-autoreply")
        or header.get("x-autorespond")
        or header.get("x-auto-response-suppress")
        or header.get("x-autoresponder")
        or header.get("x-mail-autoreply")
        or header.get("precedence").strip().lower() in ("auto_reply", "auto-reply")
    )
    titled = bool(_REPLY_SUBJECT.search(subject))
    spoken = bool(_REPLY_BODY.search(_start(prose)))
    return (
        titled
        or (marked and (spoken or not _BOUNCE_SUBJECT.search(subject)))
        or (spoken and bool(header.get("precedence")))
    )


def is_challenge(header: Header, prose: str) -> bool:
    """Say whether a mail wants proof that a person sent the message."""
    subject = decode_words(header.get("subject")).lower()
    told = _CHALLENGE_SUBJECT.search(subject) or _CHALLENGE.search(subject)
    return bool(told) and bool(_CHALLENGE.search(_start(prose)))


def says_delayed(subject: str, prose: str) -> bool:
    """Say whether prose tells of a delay and not of a final failure."""
    both = f"{subject.lower()}\n{_start(prose)}"
    if any(stem in both for stem in _STRONG_STEMS) and _STRONG_DELAY.search(both):
        return True
    if not any(stem in both for stem in _DELAY_STEMS):
        return False
    return bool(_DELAY.search(both)) and not _GAVE_UP.search(both)


def says_delivered(subject: str, prose: str) -> bool:
    """Say whether prose tells of a success."""
    both = f"{subject.lower()}\n{_start(prose)}"
    return bool(_DELIVERED.search(both)) and not _FAILED.search(both)


def _start(prose: str) -> str:
    """As much of the prose as signs are looked for in, in lower case."""
    return prose[:_LOOKED_AT].lower()
