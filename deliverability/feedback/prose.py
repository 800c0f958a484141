"""Bounces written for people: recipients and what is said about each, from the prose of any MTA.

Not one parser a product but one grammar. Every MTA that writes prose does the same four things: it introduces a
recipient (alone on a line, in angle brackets, before a colon, dots or a bracket, behind a label, or inside a
sentence), it says what happened (on that line, on the next ones, or below a heading), it may quote the SMTP
dialogue (`>>>`, `<<<`, `said:`), and it closes with a copy of the message, which must not be read.
"""

from __future__ import annotations

import re

import msgspec

from deliverability.feedback.addresses import ADDRESS
from deliverability.feedback.limits import DIAGNOSTIC_CHARS, PROSE_LINES, RECIPIENTS

__all__ = ("Mention", "cut_original", "mentions", "quotes_reply")

_MARK = re.compile(
    r"[ \t>|*]{0,8}(?:"
    r"[-=_+~#]{2,} ?[^\n]{0,60}(?:original|copy of|returned|unsent|undelivered|bounced|rejected|message header"
    r"|message follow|headers? (?:of|follow)|"
    r"mail header|message text|bounced e-?mail|eredeti|ursprüngliche|treść)[^\n]{0,80}"
    r"|(?:message |mail |original |the |original message |original mail |your message |unsent message "
    r"|undelivered message |included message |returned message |rejected message )?"
    r"(?:headers?|message|mail|text|header information|e-mail)(?: of (?:your|the)(?: original)? (?:message"
    r"|mail))? (?:follows?|as follows?|is following|is below|below|attached below|begins)[^\n]{0,40}"
    r"|(?:below|following|here|this|above|enclosed|included) (?:this line )?(?:is|are|follows)? ?(?:a "
    r"|the )?(?:copy|header|headers|first|text|original|contents?)[^\n]{0,80}"
    r"|(?:original|returned|undelivered|unsent|rejected) (?:message|mail|e-?mail)(?: headers?| header"
    r"| text)? ?(?:follows?|as follows)?[ ]?:[ -]*"
    r"|(?:please )?(?:find )?(?:the )?(?:original|attached) (?:message|mail) (?:is )?(?:attached|enclosed"
    r"|follows|below)[^\n]{0,30}"
    r"|message/rfc822"
    r")[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_HEADERISH = re.compile(
    r"[ \t]{0,8}(return-path|received|message-id|from|to|subject|date|mime-version|content-type|dkim-signature"
    r"|delivered-to|reply-to|x-mailer|sender|cc|user-agent|x-[\w-]{1,40}|[a-z][\w-]{1,40}): ?",
    re.IGNORECASE,
)
_STRONG_HEADERS = frozenset(
    {
        "return-path",
        "received",
        "message-id",
        "from",
        "to",
        "subject",
        "date",
        "mime-version",
        "content-type",
        "dkim-signature",
        "delivered-to",
        "reply-to",
    }
)

_PATHS = frozenset({"return-path", "received", "mime-version"})
_TRACES = frozenset({"return-path", "received", "message-id", "from", "mime-version"})

_TAIL = r"[\"'>\])]{0,3}"
_ALONE = re.compile(
    rf"^[\s>*+\-=#•·.\"'<(\[]{{0,20}}(?:smtp[ :]?[ ]?<?|rfc822;[ ]?|mailto:)?({ADDRESS}){_TAIL}"
    rf"(?:<mailto:[^>\s]*>)?[ \t]*[:;,.]?(?: ?\(failed\))?$",
    re.IGNORECASE,
)
_LED = re.compile(
    rf"^[\s>*+\-=#\"'<(\[]{{0,12}}({ADDRESS}){_TAIL}(?:<mailto:[^>\s]*>)?(?:[ \t]*(?:\.\.\.|:|;|,| - | -- |--"
    rf"| \(|\t|\[)[ \t]*| +(?!wrote|writes|schrieb|a écrit))(\S.*)$",
    re.IGNORECASE,
)
_DISPLAYED = re.compile(
    rf"^\s{{0,8}}[^<>:]{{0,60}}@[^<>:\s]{{1,60}}[ \t]*<({ADDRESS})>[ \t]*:?[ \t]*(.*)$"
)
_CODED = re.compile(
    rf"^\s{{0,8}}([245]\d\d (?:[245]\.\d+\.\d+ )?)<?({ADDRESS})>?(?:\.\.\.|:|,)[ \t]*(\S.*)$",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"^[\s*\-•>|]{{0,8}}(?:[\w' ]{{0,30}}\b)?(?:recipients?|to|rcpt(?: to)?|address(?:es|ee)?|user|e-?mail"
    rf"|failed recipient|final-recipient|original-recipient|destinataire|empfänger|destinatario|odbiorca"
    rf"|mailbox|for)\b[\w' ]{{0,30}}(?:\(s\))?[ \t]*[:=\-]+[ \t]*[<\"'\[(]{{0,3}}(?:rfc/?822;[ ]?|smtp:"
    rf"|mailto:)?[<\"'\[(]{{0,3}}({ADDRESS}){_TAIL}(.*)$",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    rf"(?:deliver(?:ed|ing|y|able)?|undeliver(?:able|ed)|sent|send(?:ing)?|transmi\w+|relay(?:ed)?|fail(?:ed"
    rf"|ure)?|message|mail|e-?mail|recipient|mailbox|user|account|address|addressed|intended|generated"
    rf"|duplicated|reach|delay(?:ed)?|to)\b[\w\s,'\"-]{{0,40}}?(?:\b(?:to|for|from|in|recipient|user|address"
    rf"|account|mailbox|addressee)\b)?[\s:,]{{0,4}}[(<\"'\[]{{0,3}}({ADDRESS}){_TAIL}",
    re.IGNORECASE,
)
_HELP = re.compile(
    r"\b(?:contact|reply to|replying to|write to|please (?:send|mail|e-?mail|notify|forward)"
    r"|questions|assistance|help)\b",
    re.IGNORECASE,
)
_DIALOGUE = re.compile(
    rf"rcpt to: ?<?({ADDRESS})>?|[245]\d\d[ -](?:#?[245]\.\d+\.\d+ )?[^\n]{{0,40}}?<({ADDRESS})>",
    re.IGNORECASE,
)
_OF_MESSAGE = re.compile(
    r"\s{0,12}(?:from|subject|sent|sent date|date|mail from|message-?id|size(?: \(in bytes\))?|number of lines"
    r"|x-mailer|original sender|reply-to|betreff|gesendet|von|objet|asunto|oggetto|temat) ?: ",
    re.IGNORECASE,
)
"""A line that describes the message that was sent; it says nothing about why it came back."""
_REPLY_LINE = re.compile(
    r"^\s{0,8}(?:<<<|<--|(?:[\w.\-\[\]]+ )?said:|#)?\s{0,3}[245]\d\d(?:[ \-]|$)"
)
_RULED_OFF = re.compile(r"\A(?:[ \t]*[-=_*#]{3,}[ \t]*\n|[ \t]*\n)+")
_DIVIDER = re.compile(r"^[ \t]*[-=_*]{4,}")
_HAS_CODE = re.compile(
    r"[245](?:(?<![\w.:].)[0-5]\d(?=[ \-:;,]|['\"\]]|$)|(?<![\w.].)\.\d{1,2}\.\d{1,3}(?![\w.]))"
)
"""Its first character stands first, what may not stand before it after: `re` then skips to digits in one loop."""


class Mention(msgspec.Struct, frozen=True):
    """One recipient that prose speaks of.

    Attributes:
        recipient: the address; "" where none could be found.
        diagnostic: what is said about it, one line.
        strength: 3 introduced on a line of its own, 2 labelled, 1 inside a sentence or dialogue.
    """

    recipient: str
    diagnostic: str
    strength: int


class _Intro(msgspec.Struct):
    line: int
    address: str
    rest: str
    strength: int


def cut_original(text: str) -> tuple[str, str]:
    """Split prose from the copy of the message that follows it; the copy is "" if there is none."""
    at = len(text)
    begins = at
    line = len(text) - len(text.lstrip())  # a mark has prose before it
    while (line := text.find("\n", line) + 1) > 0:
        match = _MARK.match(text, line)
        if match:
            at, begins = line, match.end()
            break
    block = _header_run(text[:at])
    if block is not None:
        at = begins = block
    return text[:at], _RULED_OFF.sub("", text[begins:])


def quotes_reply(text: str) -> bool:
    """Say whether a text quotes a reply code, an enhanced code or a dialogue."""
    return "said:" in text or "<<<" in text or _HAS_CODE.search(text) is not None


def mentions(prose: str, avoid: frozenset[str]) -> list[Mention]:
    """The recipients that prose introduces, the most plainly introduced only, with what it says about each.

    Args:
        prose: text without the copy of the message.
        avoid: lower-case addresses that are no recipients (the sender, the daemon).
    """
    lines = prose.split("\n")[:PROSE_LINES]
    intros = _introductions(lines, avoid)
    if not intros:
        return []
    best = max(intro.strength for intro in intros)
    chosen: dict[str, list[_Intro]] = {}
    for intro in intros:
        if intro.strength >= min(best, 2) or best == 1:
            chosen.setdefault(intro.address.lower(), []).append(intro)
    if best == 3 and any(group[0].strength == 3 for group in chosen.values()):
        chosen = {
            k: v for k, v in chosen.items() if max(i.strength for i in v) == 3 or _confirmed(v)
        }
    starts = {intro.line for group in chosen.values() for intro in group}
    single = len(chosen) == 1
    found = []
    for group in list(chosen.values())[:RECIPIENTS]:
        said = _said(lines, group, starts, single=single)
        found.append(
            Mention(recipient=group[0].address, diagnostic=said, strength=group[0].strength)
        )
    return found


def _confirmed(group: list[_Intro]) -> bool:
    """Say whether a labelled recipient stands beside plainly introduced ones because a failure is told of it."""
    return any(quotes_reply(intro.rest) for intro in group)


def _header_run(text: str) -> int | None:
    """Where a run of three or more message header fields begins, if one does."""
    run, strong, start, at = 0, set[str](), 0, 0
    for line in text.split("\n")[:PROSE_LINES]:
        match = _HEADERISH.match(line)
        if match:
            if run == 0:
                start, strong = at, set()
            run += 1
            name = match.group(1).lower()
            if name in _STRONG_HEADERS:
                strong.add(name)
            indented = line[:1] in " \t"
            if (
                len(strong) >= 3
                and strong & (_PATHS if indented else _TRACES)
                and text[:start].strip()
            ):
                return start
        elif not (run and line[:1] in " \t" and line.strip()):
            run = 0
        at += len(line) + 1
    return None


def _introductions(lines: list[str], avoid: frozenset[str]) -> list[_Intro]:
    found: list[_Intro] = []
    for number, line in enumerate(lines):
        if "@" not in line or len(line) > 2_000:
            continue
        for address, rest, strength in _in_line(line):
            if address.lower() not in avoid:
                found.append(_Intro(line=number, address=address, rest=rest, strength=strength))
    return found


def _in_line(line: str) -> list[tuple[str, str, int]]:
    displayed = _DISPLAYED.match(line)
    if displayed:
        return [(displayed.group(1), displayed.group(2), 3)]
    alone = _ALONE.match(line)
    if alone:
        return [(alone.group(1).rstrip("."), "", 3)]
    coded = _CODED.match(line)
    if coded:
        rest = coded.group(3)
        return [
            (
                coded.group(2).rstrip("."),
                rest if _REPLY_LINE.match(rest) else coded.group(1) + rest,
                3,
            )
        ]
    led = _LED.match(line)
    if led and not line.lstrip().startswith((">>>", "<<<")):
        return [(led.group(1).rstrip("."), led.group(2), 3)]
    label = _LABEL.match(line)
    if label and not label.group(0).lstrip().lower().startswith(("from", "sender", "reply")):
        return [(label.group(1).rstrip("."), label.group(2), 2)]
    found = [(m.group(1) or m.group(2), line, 1) for m in _DIALOGUE.finditer(line)]
    if not found and not _HELP.search(line):
        found = [(m.group(1), line, 1) for m in _SENTENCE.finditer(line)]
    return [(address.rstrip("."), rest, strength) for address, rest, strength in found]


def _said(lines: list[str], group: list[_Intro], starts: set[int], *, single: bool) -> str:
    """What the prose says of one recipient: its own block, else the dialogue that names it, else what is left."""
    own = " ".join(_block(lines, intro, starts) for intro in group).strip()
    if quotes_reply(own):
        return own[:DIAGNOSTIC_CHARS]
    address = group[0].address.lower()
    named = [
        line.strip()
        for n, line in enumerate(lines)
        if n not in starts and address in line.lower() and quotes_reply(line)
    ]
    if named:
        return " ".join([*named, own])[:DIAGNOSTIC_CHARS]
    rest = _rest(lines, group[0].line, starts)
    if single or not own:
        return f"{own} {rest}".strip()[:DIAGNOSTIC_CHARS]
    return own[:DIAGNOSTIC_CHARS]


def _block(lines: list[str], intro: _Intro, starts: set[int]) -> str:
    """The rest of the introducing line and the lines below it, up to a blank line, divider or next recipient."""
    words = [intro.rest] if intro.strength > 1 or intro.rest else []
    if intro.strength == 1:
        return intro.rest.strip()
    words[:0] = _dialogue_above(lines, intro, starts)
    for number in range(intro.line + 1, min(len(lines), intro.line + 40)):
        line = lines[number]
        if number in starts or not line.strip() or _DIVIDER.match(line):
            break
        if not _OF_MESSAGE.match(line):
            words.append(line.strip())
    return " ".join(word for word in words if word)


def _dialogue_above(lines: list[str], intro: _Intro, starts: set[int]) -> list[str]:
    """The answers of the remote host just above a line such as `554 <a@example.org>... Remote protocol error`."""
    above: list[str] = []
    if not lines[intro.line].lstrip()[:1].isdigit():
        return above
    for number in range(intro.line - 1, max(-1, intro.line - 6), -1):
        line = lines[number].strip()
        if number in starts or not line.startswith(("<<<", ">>>")):
            break
        above.insert(0, line)
    return [line for line in above if line.startswith("<<<")]


def _rest(lines: list[str], after: int, starts: set[int]) -> str:
    """The replies quoted anywhere, else all prose below the recipient, else all above it."""
    lines = ["" if _OF_MESSAGE.match(line) else line for line in lines]
    replies = [line.strip() for line in lines if _REPLY_LINE.match(line)]
    if replies:
        below = [line.strip() for line in lines if line.strip().startswith(">>>")]
        return " ".join([*replies, *below])
    tail = " ".join(
        line.strip()
        for n, line in enumerate(lines[after:], after)
        if n not in starts and line.strip()
    )
    head = " ".join(
        line.strip() for n, line in enumerate(lines[:after]) if n not in starts and line.strip()
    )
    return f"{tail} {head}"
