"""Classify one SMTP reply: cause, blame, action, permanence, evidence and confidence.

The same function serves live replies (`classify_reply`) and diagnostics found in bounces. What decides, in this
order: a
strong rule on the words; the table of enhanced codes (RFC 3463 and the IANA registry, where the detail says
something);
a weak rule; the subject of the enhanced code; the reply code (RFC 5321 §4.2.3). Words come first because hosts
are far
more careful with words than with codes: 5.7.1 alone means nothing.

"User unknown" is believed at once where it can only mean that: with 5.1.x, or as the answer to RCPT. After
DATA, or where nobody knows the stage, filters say the same of mailboxes that exist, and the cause is
`recipient-refused`, which needs repeats to suppress.

Hot path: `bench` holds it to 50,000 replies a second a core; two caches, by the exact reply and by its words
without the
changing parts (addresses, numbers, queue ids).
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from deliverability.feedback.limits import REPLY_CHARS
from deliverability.feedback.phrases import normalise
from deliverability.feedback.rulebook import Match, shipped
from deliverability.feedback.taxonomy import MEANINGS, Action, Blame, Cause

__all__ = (
    "Verdict",
    "classify_reply",
    "find_codes",
    "find_stage",
    "forget",
    "template_of",
    "verdict_of",
)


class Verdict(msgspec.Struct, frozen=True):
    """What one reply means.

    Attributes:
        permanent: the reply is a permanent one, 5yz (RFC 5321 §4.2.1), or says so where it has no code.
        hard: the address itself is dead; one occurrence suffices to suppress it.
        rule: id of the rule, or `enhanced:5.1.1`, `code:552`, `nothing`.
        words: the part of the normalised text that decided.
        confidence: 0 to 1.
    """

    cause: Cause
    blame: Blame
    action: Action
    permanent: bool
    hard: bool
    sisimai: str
    kumomta: str
    rule: str
    words: str
    confidence: float


_ENHANCED: dict[str, Cause] = {
    "1.1": Cause.MAILBOX_UNKNOWN,
    "1.2": Cause.DOMAIN_UNKNOWN,
    "1.3": Cause.ADDRESS_INVALID,
    "1.4": Cause.RECIPIENT_REFUSED,
    "1.6": Cause.MAILBOX_MOVED,
    "1.7": Cause.SENDER_REFUSED,
    "1.8": Cause.SENDER_REFUSED,
    "1.9": Cause.SYSTEM_ERROR,
    "1.10": Cause.DOMAIN_REFUSES_MAIL,
    "2.1": Cause.RECIPIENT_REFUSED,
    "2.2": Cause.MAILBOX_FULL,
    "2.3": Cause.LIMIT_EXCEEDED,
    "2.4": Cause.RECIPIENT_REFUSED,
    "3.1": Cause.SYSTEM_FULL,
    "3.2": Cause.DOMAIN_REFUSES_MAIL,
    "3.4": Cause.MESSAGE_TOO_LARGE,
    "3.5": Cause.SYSTEM_ERROR,
    "4.1": Cause.TIMED_OUT,
    "4.2": Cause.TIMED_OUT,
    "4.3": Cause.SYSTEM_ERROR,
    "4.4": Cause.DOMAIN_UNKNOWN,
    "4.5": Cause.SYSTEM_FULL,
    "4.6": Cause.ROUTING_LOOP,
    "4.7": Cause.TIMED_OUT,
    "5.3": Cause.TOO_MANY_RECIPIENTS,
    "7.5": Cause.ACCESS_DENIED,
    "7.7": Cause.POLICY,
    "7.8": Cause.ACCESS_DENIED,
    "7.9": Cause.POLICY,
    "7.11": Cause.ACCESS_DENIED,
    "7.13": Cause.MAILBOX_DISABLED,
    "7.17": Cause.MAILBOX_MOVED,
    "7.18": Cause.MAILBOX_MOVED,
    "7.20": Cause.AUTHENTICATION_FAILED,
    "7.21": Cause.AUTHENTICATION_FAILED,
    "7.22": Cause.AUTHENTICATION_FAILED,
    "7.23": Cause.AUTHENTICATION_FAILED,
    "7.24": Cause.AUTHENTICATION_FAILED,
    "7.25": Cause.PTR_MISSING,
    "7.26": Cause.AUTHENTICATION_FAILED,
    "7.27": Cause.SENDER_REFUSED,
    "7.28": Cause.SENDING_TOO_FAST,
    "7.29": Cause.AUTHENTICATION_FAILED,
    "7.30": Cause.AUTHENTICATION_FAILED,
    "1.90": Cause.SENDING_TOO_FAST,
    "2.14": Cause.SYSTEM_ERROR,
    "2.121": Cause.MAILBOX_BUSY,
    "2.122": Cause.MAILBOX_BUSY,
    "4.14": Cause.ROUTING_LOOP,
    "4.300": Cause.TIMED_OUT,
    "4.310": Cause.DOMAIN_UNKNOWN,
    "4.312": Cause.DNS_FAILURE,
    "4.316": Cause.CONNECTION_REFUSED,
    "4.317": Cause.TLS_FAILED,
    "6.11": Cause.NOT_RFC_COMPLIANT,
    "7.12": Cause.ACCESS_DENIED,
    "7.57": Cause.ACCESS_DENIED,
    "7.64": Cause.RELAY_DENIED,
    "7.124": Cause.SENDER_REFUSED,
    "7.133": Cause.SENDER_REFUSED,
    "7.134": Cause.SENDER_REFUSED,
    "7.136": Cause.SENDER_REFUSED,
    "7.232": Cause.SENDING_TOO_FAST,
    "7.233": Cause.SENDING_TOO_FAST,
    "7.501": Cause.SPAM_CONTENT,
    "7.502": Cause.SENDER_REFUSED,
    "7.503": Cause.SENDER_REFUSED,
    "7.504": Cause.RECIPIENT_REFUSED,
    "7.505": Cause.RECIPIENT_REFUSED,
    "7.506": Cause.HOST_BLOCKED,
    "7.507": Cause.RECIPIENT_REFUSED,
    "7.508": Cause.SENDING_TOO_FAST,
    "7.510": Cause.HOST_BLOCKED,
    "7.512": Cause.NOT_RFC_COMPLIANT,
    "7.513": Cause.HOST_BLOCKED,
    "7.705": Cause.SENDING_TOO_FAST,
    "7.708": Cause.HOST_BLOCKED,
    "7.750": Cause.SENDER_REFUSED,
    "7.509": Cause.AUTHENTICATION_FAILED,
    "7.515": Cause.AUTHENTICATION_FAILED,
    "7.606": Cause.HOST_BLOCKED,
    "7.511": Cause.HOST_BLOCKED,
}
_SUBJECT: dict[str, Cause] = {
    "1": Cause.MAILBOX_UNKNOWN,
    "2": Cause.RECIPIENT_REFUSED,
    "3": Cause.SYSTEM_ERROR,
    "4": Cause.NETWORK_FAILURE,
    "5": Cause.PROTOCOL_ERROR,
    "6": Cause.CONTENT_MALFORMED,
    "7": Cause.ACCESS_DENIED,
}
_STAGE: dict[str, Cause] = {
    "connect": Cause.HOST_BLOCKED,
    "helo": Cause.HOST_BLOCKED,
    "mail": Cause.SENDER_REFUSED,
}
"""What a refusal in unknown words is about: before a recipient was named, only host or sender can be meant."""
_CODE: dict[str, Cause] = {
    "421": Cause.CONNECTION_REFUSED,
    "450": Cause.TEMPORARY_UNSAID,
    "451": Cause.SYSTEM_ERROR,
    "452": Cause.SYSTEM_FULL,
    "500": Cause.PROTOCOL_ERROR,
    "501": Cause.PROTOCOL_ERROR,
    "502": Cause.PROTOCOL_ERROR,
    "503": Cause.PROTOCOL_ERROR,
    "504": Cause.PROTOCOL_ERROR,
    "521": Cause.DOMAIN_REFUSES_MAIL,
    "525": Cause.MAILBOX_DISABLED,
    "530": Cause.ACCESS_DENIED,
    "534": Cause.ACCESS_DENIED,
    "535": Cause.ACCESS_DENIED,
    "538": Cause.ACCESS_DENIED,
    "551": Cause.MAILBOX_MOVED,
    "552": Cause.MAILBOX_FULL,
    "553": Cause.SENDER_REFUSED,
    "556": Cause.DOMAIN_REFUSES_MAIL,
}
_VAGUE = frozenset({"2.1", "3.5", "4.1", "4.2", "4.3", "4.4", "5.1", "7.29"})
"""Details that hosts use for anything near, so that the vocabulary goes before their table entry."""
_NOT_UNKNOWN = frozenset(
    {
        Cause.MAILBOX_FULL,
        Cause.MAILBOX_MOVED,
        Cause.RELAY_DENIED,
        Cause.SENDER_REFUSED,
        Cause.HOST_LISTED,
        Cause.DOMAIN_UNKNOWN,
        Cause.DOMAIN_REFUSES_MAIL,
        Cause.GREYLISTED,
    }
)
"""What the vocabulary may say in spite of a x.1.1."""
_SAYS_LITTLE = frozenset(
    {
        Cause.SYSTEM_ERROR,
        Cause.TEMPORARY_UNSAID,
        Cause.CONNECTION_REFUSED,
        Cause.NETWORK_FAILURE,
    }
)
_SURE_SUBJECTS = ("1.1", "1.3", "1.0", "1.10", "1.351", "4.1", "5.0")

_PAIR = re.compile(
    r"(?<![\w.])([245][0-5]\d)[ -]{1,3}[(\[<#'\"]{0,2}([245]\.\d{1,3}\.\d{1,4})(?![\d.]\d)"
)
_ENHANCED_CODE = re.compile(r"(?<![\w.])#?([245]\.\d{1,2}\.\d{1,4})(?![\w]|\.\d)")
_LED_CODE = re.compile(
    r"(?:\A\W{0,3}|said: ?|said:? |<<< |error:? ?|reason: ?|response: ?|responded(?: with)?[^\d]{0,40}"
    r"|returned[^\d]{0,20}|code ?:? ?|reply:? ?"
    r"|['\"\[(:;] ?|failure: ?|error was: ?|was: ?|deferred: |\.\.\. )([245][0-5]\d)(?=[ \-:;,.]|['\")\]]"
    r"|\Z)(?![:.]\d)",
    re.IGNORECASE,
)
_LOOSE_CODE = re.compile(r"(?<![\w.:/#=\-])([45][0-5]\d)(?=[ -]\S)(?![ ]\d)")
_QUOTED = re.compile(r"<([245]\d\d [245]\.\d{1,3}\.\d{1,3} [^<>]{3,})>")
_TAIL = re.compile(
    r"\(in reply to .*|giving up on .*|i'm not going to try again.*|\[(?:rcpt_to|mail_from|data)\].*"
    r"|i've given up\..*| see https?://\S+.*|"
    r"(?:will keep trying|message could not be delivered for|warning: message still).*",
    re.IGNORECASE | re.DOTALL,
)
_STAGES: dict[str, re.Pattern[str]] = {
    "data": re.compile(
        r"end of data|final data|after i sent the message|in reply to data|>>> data\b|>>> \.|\[data\]|after data"
        r"|data command|after end of message|on data\b|after pipelined"
    ),
    "rcpt": re.compile(
        r"rcpt[_ ]to|no valid recipients|need rcpt|rcpt commands? were|rejected by a remote mail server|after rcpt"
        r"|in reply to rcpt|>>> rcpt|does not like recipient|rejected recipient|rcpt command|on rcpt\b"
        r"|recipient command"
    ),
    "mail": re.compile(
        r"mail[_ ]from(?: command|:<|\])|in reply to mail|after mail|does not like sender|mail command|>>> mail"
        r"|on mail\b"
    ),
    "helo": re.compile(
        r"in reply to (?:helo|ehlo)|after (?:helo|ehlo)|>>> (?:helo|ehlo)|refused to talk to me"
        r"|(?:helo|ehlo) command"
    ),
    "connect": re.compile(
        r"after initial connection|initial server greeting|does not like our banner|while connecting"
        r"|did not like our connection"
    ),
}
_FRAME = re.compile(
    r"(?:\bsaid|did not like our (?:final )?[A-Z ]{4,12}|responded with failure|responded as follows"
    r"|server returned(?: was)?|returned was|error was|response was|"
    r"unknown address error|other server error|failure reason|the reason (?:given )?(?:was|is)"
    r"|the response was)[: '\"\[]{1,4}(?:[245]\d\d-')?(?=\S)",
    re.IGNORECASE,
)
_FRONT = re.compile(
    r"\b(?:recipient address rejected|rcpt rejected|recipient rejected|transaction failed"
    r"|service (?:currently |temporarily )?(?:not available|unavailable)|access denied|connection (?:refused|rejected)"
    r"|requested (?:mail )?action (?:not taken|aborted)|(?:message|mail) (?:rejected|refused)"
    r"|delivery (?:error|failed|not authorized))(?: due to| because| as)?[:;,.\- ]{1,4}(?=\S.{7})"
)
"""What says only that something was refused; a known reason behind it says more."""
_CORE_CHARS = 8
_SURE = 0.8
_QUOTED_SURE = 0.5
_LONG = 12
_DIGIT = re.compile(r"\d")
_ADDRESS = re.compile(r"[\w.+=!/-]{1,64}@[\w.-]{1,255}")
_VARIES = re.compile(r"\d(?:[\w.-]{4}|\.\d|(?<=[A-Za-z]\d)[A-Za-z])")
_IP = re.compile(r"(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w.]*\w)")
_IP6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f:]{1,30}")
_MIXED = re.compile(
    r"(?<![\w.@/-])(?=[A-Za-z_-]{0,40}\d[\w-]{0,40}?[A-Za-z])[A-Za-z0-9_-]{9,}(?:\.\d{1,6})*(?![\w@])"
)
_DOTS = 3
_LONG_NUMBER = re.compile(r"\d\d{4}")
"""A search that begins with its own character is four times as fast as a substitution that looks behind first."""
_NUMBER = re.compile(r"(?<![\w.])\d{5,}(?![\w])")
_CHANGING = re.compile(r"(?=[A-Za-z_-]{0,40}\d)[\w-]{13,}(?:\.\d{1,6})*")


def classify_reply(code: str, enhanced: str, text: str, *, stage: str = "") -> Verdict:
    """Classify one SMTP reply.

    Args:
        code: the reply code, or "" to look for it in the text.
        enhanced: the enhanced status code, or "" to look for it in the text.
        text: the text of the reply, with or without the codes, or a diagnostic that quotes one.
        stage: `connect`, `helo`, `mail`, `rcpt` or `data`, or "" to look for it in the text.
    """
    return _classify(str(code or ""), str(enhanced or ""), text[:REPLY_CHARS], stage)


def verdict_of(
    cause: Cause, *, permanent: bool, rule: str, words: str = "", confidence: float = 0.9
) -> Verdict:
    """The verdict of a cause that is known by other means than a reply."""
    meaning = MEANINGS[cause]
    return Verdict(
        cause=cause,
        blame=meaning.blame,
        action=_action(cause, meaning.action, permanent=permanent),
        permanent=permanent,
        hard=meaning.hard and permanent,
        sisimai=meaning.sisimai,
        kumomta=meaning.kumomta,
        rule=rule,
        words=words,
        confidence=confidence,
    )


def find_codes(text: str) -> tuple[str, str]:
    """The reply code and the enhanced code that a text quotes, each "" if there is none."""
    text = text[:REPLY_CHARS]
    quoted = _QUOTED.search(text)
    pair = _PAIR.search(quoted.group(1) if quoted else text)
    if pair:
        return pair.group(1), pair.group(2)
    led = _LED_CODE.search(text) or _LOOSE_CODE.search(text)
    plain = _ENHANCED_CODE.search(text)
    return led.group(1) if led else "", plain.group(1) if plain else ""


def find_stage(text: str) -> str:
    """The stage of the SMTP dialogue that a text speaks of, or ""."""
    lower = text[:REPLY_CHARS].lower()
    for stage, pattern in _STAGES.items():
        if pattern.search(lower):
            return stage
    return ""


def forget() -> None:
    """Empty the caches, so that the next reply is decided by the rules as they are now."""
    _classify.cache_clear()
    _classify_template.cache_clear()
    _decide.cache_clear()


@lru_cache(maxsize=65_536)
def _classify(code: str, enhanced: str, text: str, stage: str) -> Verdict:
    return _classify_template(code, enhanced, template_of(text), stage)


def template_of(text: str) -> str:
    """A text without what changes from reply to reply: addresses, hosts' numbers, ids, long numbers, extra spaces.

    Codes of providers stay (S3140, RL000001, LPN007_104): short, or letters before digits alone.
    """
    if _VARIES.search(text):
        if text.count(".") >= _DOTS:
            text = _IP.sub("192.0.2.1", text)
        if text.count(":") >= 4:
            text = _IP6.sub("192.0.2.1", text)
        text = _MIXED.sub("id", text)
        if _LONG_NUMBER.search(text):
            text = _NUMBER.sub("99999", text)
    return " ".join(
        [_stable(word) if len(word) > _LONG or "@" in word else word for word in text.split()]
    )


def _stable(word: str) -> str:
    """What stays of a long word: an address, an id or a link with numbers lose what changes from reply to reply."""
    if "@" in word:
        return _ADDRESS.sub("addr", word)
    if word.isalpha() or not _DIGIT.search(word):
        return word
    if "://" in word or "www." in word:
        return _DIGIT.split(word, maxsplit=1)[0]
    return _CHANGING.sub("id", word)


@lru_cache(maxsize=16_384)
def _classify_template(code: str, enhanced: str, text: str, stage: str) -> Verdict:
    if not code or not enhanced:
        found_code, found_enhanced = find_codes(text)
        code, enhanced = code or found_code, enhanced or found_enhanced
    stage = stage or find_stage(text)
    core, quoted = _core(text)
    if core:
        verdict = _decide(code, enhanced, normalise(core), stage)
        if verdict.confidence >= (_QUOTED_SURE if quoted else _SURE):
            return verdict
    return _decide(code, enhanced, normalise(text), stage)


def _core(text: str) -> tuple[str, bool]:
    """What the remote host said, without what the reporting MTA wrote around it, and whether it was plainly quoted.

    The text is "" if nothing can be taken off.
    """
    start = 0
    frame = _FRAME.search(text)
    if frame:
        start = frame.end()
    else:
        code = _PAIR.search(text) or _LED_CODE.search(text)
        start = code.start(1) if code else 0
    tail = _TAIL.search(text, start + 1)
    end = tail.start() if tail else len(text)
    core = text[start:end].strip()
    if len(core) < _CORE_CHARS or not (start or tail):
        return "", False
    return core, frame is not None


@lru_cache(maxsize=16_384)
def _decide(code: str, enhanced: str, text: str, stage: str) -> Verdict:
    """Decide a text in normal form; kept, since the same words come inside of many frames that name other hosts."""
    permanent = _is_permanent(code, enhanced)
    found = _behind_front(code, enhanced, text, stage) or _cause(code, enhanced, text, stage)
    cause, rule, words, confidence = found
    return verdict_of(cause, permanent=permanent, rule=rule, words=words, confidence=confidence)


def _behind_front(
    code: str, enhanced: str, text: str, stage: str
) -> tuple[Cause, str, str, float] | None:
    """What stands behind a general refusal ("Recipient address rejected: …"), if a rule knows a cause of its own there.

    "User unknown" and the like is left to the whole text, whose first words say how it is meant.
    """
    front = _FRONT.search(text)
    if front is None:
        return None
    match = _ruled(code, enhanced, text[front.end() :], stage)
    if match is None or match[0].rule.session or match[0].rule.cause in _SAYS_LITTLE:
        return None
    return _from_rule(match[0], enhanced.partition(".")[2], stage, match[1])


def _is_permanent(code: str, enhanced: str) -> bool:
    if code[:1] in ("4", "5"):
        return code[0] == "5"
    return enhanced[:1] == "5"


def _cause(code: str, enhanced: str, text: str, stage: str) -> tuple[Cause, str, str, float]:
    detail = enhanced.partition(".")[2]
    ruled = _ruled(code, enhanced, text, stage)
    if ruled is not None:
        return _from_rule(ruled[0], detail, stage, ruled[1])
    if detail in _ENHANCED:
        return _ENHANCED[detail], f"enhanced:{enhanced}", enhanced, 0.85
    match = shipped().weak.decide(text, code, enhanced, stage)
    if match is not None:
        return _from_rule(match, detail, stage, 0.6)
    subject = detail.partition(".")[0]
    if stage in _STAGE and subject in ("", "0", "7"):
        return _STAGE[stage], f"stage:{stage}", stage, 0.5
    if subject in _SUBJECT:
        return _SUBJECT[subject], f"enhanced:{enhanced}", enhanced, 0.5
    if code in _CODE:
        return _CODE[code], f"code:{code}", code, 0.4
    if code.startswith("4") or enhanced.startswith("4"):
        return Cause.TEMPORARY_UNSAID, f"code:{code or enhanced}", code, 0.3
    return Cause.UNDETERMINED, "nothing", "", 0.0


def _ruled(code: str, enhanced: str, text: str, stage: str) -> tuple[Match, float] | None:
    """The strong rule, or the rule of the vocabulary, that decides before the table of enhanced codes."""
    book = shipped()
    match = book.strong.decide(text, code, enhanced, stage)
    if match is not None:
        return match, 0.95
    detail = enhanced.partition(".")[2]
    known = _ENHANCED.get(detail)
    if known is None or detail in _VAGUE or known is Cause.MAILBOX_UNKNOWN:
        match = book.general.decide(text, code, enhanced, stage)
        if match is not None and (
            known is not Cause.MAILBOX_UNKNOWN or match.rule.cause in _NOT_UNKNOWN
        ):
            return match, 0.9
    return None


def _from_rule(
    match: Match, detail: str, stage: str, confidence: float
) -> tuple[Cause, str, str, float]:
    cause = match.rule.cause
    sure = stage == "rcpt" or detail in _SURE_SUBJECTS or (detail == "0.0" and not stage)
    if match.rule.session and not sure:
        cause = Cause.RECIPIENT_REFUSED
    return cause, match.rule.id, match.words, confidence


def _action(cause: Cause, usual: Action, *, permanent: bool) -> Action:
    """The usual action, softened where the reply is transient: nothing is suppressed for a 4yz."""
    if (
        not permanent
        and usual in (Action.SUPPRESS, Action.SUPPRESS_AFTER_REPEATS)
        and cause is not Cause.COMPLAINT
    ):
        return Action.RETRY_LATER
    return usual
