"""Lists of other senders: read into entries, written from them. CSV for spreadsheets, the forms of five services.

    csv         address, reason, scope, source, evidence, created, expires (any of them but address may be missing)
    ses         ListSuppressedDestinations: {"SuppressedDestinationSummaries": [{"EmailAddress", "Reason", ...}]}
    sendgrid    /v3/suppression/...: [{"email", "created" (s), "reason", "status"}], with "group_id" for groups
    mailgun     /v3/DOMAIN/bounces, unsubscribes, complaints: {"items": [{"address", "created_at", "code", "tags"}]}
    postmark    /message-streams/STREAM/suppressions/dump: {"Suppressions": [{"EmailAddress", "SuppressionReason"}]}
    sparkpost   /api/v1/suppression-list: {"results": [{"recipient", "type", "source", "description", "created"}]}

A file may be the service's JSON, one JSON object a line, or its CSV export. A mistake names its line and is told;
the others are read. Input may be hostile: sizes are bounded, and nothing of it is executed or followed.
Sources: the services' API references, read in 2026.
"""

from __future__ import annotations

__all__ = ("FORMS", "Form", "Listed", "Mistake", "read_list", "write_list")

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, get_args

import msgspec

from deliverability.suppression.entry import REASONS, check_scope, normalised, scope_of
from engine.errors import InputError

Form = Literal["csv", "ses", "sendgrid", "mailgun", "postmark", "sparkpost"]
FORMS: tuple[Form, ...] = get_args(Form)

LINE_CHARS_MAX = 20_000
DAY_MS = 86_400_000
COLUMNS = ("address", "reason", "scope", "source", "evidence", "created", "expires")


class Listed(msgspec.Struct, frozen=True):
    """One line of a list. `scope` "" is that of the import; times in ms, 0: not said, or never."""

    address: str
    reason: str = "manual"
    scope: str = ""
    source: str = ""
    evidence: str = ""
    created: int = 0
    expires: int = 0


class Mistake(msgspec.Struct, frozen=True):
    """A line that can't be used; `line` counts lines, or items of a JSON list."""

    line: int
    detail: str


_WORDS: tuple[
    tuple[str, str], ...
] = (  # the services' words, in this order: the first that occurs decides
    ("trap", "spam-trap"),
    ("complain", "complaint"),
    ("spam", "complaint"),
    ("abuse", "complaint"),
    ("unsub", "unsubscribe"),
    ("opt", "unsubscribe"),
    ("group", "unsubscribe"),
    ("soft", "soft-bounces"),
    ("block", "soft-bounces"),
    ("bounce", "hard-bounce"),
    ("invalid", "hard-bounce"),
    ("role", "role"),
    ("manual", "manual"),
    ("customer", "manual"),
    ("admin", "manual"),
)
_ADDRESS = (*("address", "email", "emailaddress", "email_address", "recipient", "e-mail", "mail"),)
_REASON = ("reason", "suppressionreason", "type", "source_type", "list", "category")
_CREATED = ("created", "created_at", "createdat", "lastupdatetime", "date", "updated", "timestamp")


def read_list(
    text: str, form: Form, tenant: str = "", default: str = "imported"
) -> Iterator[Listed | Mistake]:
    """Read a list.

    Args:
        text: the whole file.
        form: whose.
        tenant: for scopes that the form names (Postmark's streams, SendGrid's groups).
        default: the reason where the form says none.
    """
    stripped = text.lstrip("\ufeff \t\r\n")
    items = _from_json(stripped) if stripped[:1] in ("{", "[") else _from_csv(stripped)
    for line, item in items:
        if isinstance(item, str):
            yield Mistake(line, item)
            continue
        try:
            yield _listed(item, form, tenant, default)
        except InputError as error:
            yield Mistake(line, str(error))


def _from_csv(text: str) -> Iterator[tuple[int, dict[str, str] | str]]:
    first = text.partition("\n")[0]
    separator = max((",", ";", "\t"), key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    names: list[str] | None = None
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, str(error)
            return
        if not row or not any(cell.strip() for cell in row):
            continue
        if names is None:
            names = [cell.strip().lower().replace(" ", "_") for cell in row]
            if any(name in _ADDRESS for name in names):
                continue
            names = ["address"]  # a bare list of addresses, without a head
        if sum(map(len, row)) > LINE_CHARS_MAX:
            yield reader.line_num, f"longer than {LINE_CHARS_MAX} characters"
            continue
        yield reader.line_num, dict(zip(names, row, strict=False))


def _from_json(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError:
        yield from _from_lines(text)
        return
    except RecursionError:
        yield 1, "nested too deeply"
        return
    if isinstance(whole, dict):
        named = ("items", "results", "suppressions", "suppresseddestinationsummaries", "recipients")
        lists = [value for name, value in whole.items() if name.lower() in named]
        whole = lists[0] if lists and isinstance(lists[0], list) else [whole]
    for number, item in enumerate(whole if isinstance(whole, list) else [whole], 1):
        yield number, _lowered(item)


def _from_lines(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if len(line) > LINE_CHARS_MAX:
            yield number, f"longer than {LINE_CHARS_MAX} characters"
            continue
        try:
            yield number, _lowered(msgspec.json.decode(line))
        except (msgspec.DecodeError, RecursionError) as error:
            yield number, f"no JSON: {error}"


def _lowered(item: Any) -> dict[str, Any] | str:
    if isinstance(item, str):
        return {"address": item}
    if not isinstance(item, dict):
        return "expected an object with an address"
    return {str(name).lower(): value for name, value in item.items()}


def _listed(item: dict[str, Any], form: Form, tenant: str, default: str) -> Listed:
    address = _text(item, _ADDRESS)
    if not address:
        raise InputError("there is no address")
    given = _text(item, ("scope",))
    return Listed(
        address=normalised(address),
        reason=_reason(item, form, default),
        scope=check_scope(given) if given else _scope(item, form, tenant),
        source=_text(item, ("source",))[:100] if form == "csv" else f"import:{form}",
        evidence=_evidence(item),
        created=_time(next((item[name] for name in _CREATED if item.get(name)), None)),
        expires=_time(item.get("expires")),
    )


def _text(item: dict[str, Any], names: Iterable[str]) -> str:
    for name in names:
        value = item.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _reason(item: dict[str, Any], form: Form, default: str) -> str:
    said = _text(item, _REASON)
    if said in REASONS:
        return said
    if form == "sparkpost":
        said = f"{_text(item, ('source',))} {said}"
    if (
        form == "sendgrid"
    ):  # `reason` is the reply of the other side; which list it is, the caller knows
        said = "unsubscribe group" if "group_id" in item else _text(item, ("type", "list"))
        if not said and ("status" in item or _text(item, ("reason",))):
            said = "bounce"
    if form == "mailgun" and not said:
        if "code" in item or "error" in item:
            said = "bounce"
        elif "tag" in item or "tags" in item:
            said = "unsubscribe"
    lower = said.lower()
    return next((reason for word, reason in _WORDS if word in lower), default)


def _scope(item: dict[str, Any], form: Form, tenant: str) -> str:
    """Give the scope that the form itself names, if it does."""
    if not tenant:
        return ""
    if form == "postmark" and (stream := _text(item, ("messagestream", "stream"))):
        return scope_of("stream", tenant, stream)
    if form == "sparkpost" and (kind := _text(item, ("type",))) in (
        "transactional",
        "non_transactional",
    ):
        return scope_of("stream", tenant, kind if kind == "transactional" else "marketing")
    if form == "sendgrid" and isinstance(item.get("group_id"), int):
        return scope_of("topic", tenant, str(item.get("group_name") or item["group_id"]))
    if form == "mailgun":
        tags = item.get("tags")
        tag = str(tags[0]) if isinstance(tags, list) and tags else _text(item, ("tag",))
        if tag and tag != "*":
            return scope_of("topic", tenant, tag)
    return ""


def _evidence(item: dict[str, Any]) -> str:
    """Keep the codes that it shows; words may contain addresses and are left out."""
    said = _text(item, ("evidence",))
    if said:
        return " ".join(word for word in said.split() if "@" not in word)[:200]
    codes = [item.get("code"), item.get("status")]
    return " ".join(str(code)[:20] for code in codes if code and "@" not in str(code))


def _time(value: Any) -> int:
    """Read a time: seconds or ms since the epoch, ISO 8601, or the date of a mail."""
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, str) and value.strip().isdigit() and len(value.strip()) < 16:
        value = int(value)
    try:
        if isinstance(value, int | float):
            return int(value if value > 10**11 else value * 1000) if 0 < value < 10**14 else 0
        if isinstance(value, str):
            return _written(value.strip())
    except (ValueError, OverflowError, TypeError):
        return 0
    return 0


def _written(text: str) -> int:
    if not text:
        return 0
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = parsedate_to_datetime(text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(int(at.timestamp() * 1000), 0)


# ---- writing


def write_list(entries: Iterable[Listed], form: Form) -> Iterator[str]:
    """Write entries in a form, piece by piece."""
    if form == "csv":
        yield from _csv(entries)
        return
    make, before, after = _WRITERS[form]
    yield before
    for number, entry in enumerate(entries):
        yield ("," if number else "") + "\n" + msgspec.json.encode(make(entry)).decode()
    yield "\n" + after + "\n"


def _csv(entries: Iterable[Listed]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        times = (_iso(entry.created), _iso(entry.expires))
        cells = (entry.address, entry.reason, entry.scope, entry.source, entry.evidence, *times)
        writer.writerow([_harmless(cell) for cell in cells])
        if out.tell() > 1 << 16:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def _harmless(cell: str) -> str:
    """Keep a spreadsheet from taking a cell for a formula; `@domain` stays, it is ours."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "\t", "\r") else cell


def _iso(time_ms: int) -> str:
    if not time_ms:
        return ""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")


def _is_bounce(reason: str) -> bool:
    return reason not in ("complaint", "unsubscribe", "manual")


def _ses(entry: Listed) -> dict[str, Any]:
    return {
        "EmailAddress": entry.address,
        "Reason": "COMPLAINT" if entry.reason in ("complaint", "unsubscribe") else "BOUNCE",
        "LastUpdateTime": _iso(entry.created),
    }


def _sendgrid(entry: Listed) -> dict[str, Any]:
    return {
        "email": entry.address,
        "created": entry.created // 1000,
        "reason": entry.evidence,
        "type": entry.reason,
    }


def _mailgun(entry: Listed) -> dict[str, Any]:
    made = {"address": entry.address, "created_at": _iso(entry.created), "type": entry.reason}
    if _is_bounce(entry.reason):
        return made | {"code": "550", "error": entry.evidence}
    return made | {"tags": ["*"]} if entry.reason == "unsubscribe" else made


def _postmark(entry: Listed) -> dict[str, Any]:
    words = {"complaint": "SpamComplaint", "unsubscribe": "ManualSuppression"}
    words["manual"] = "ManualSuppression"
    return {
        "EmailAddress": entry.address,
        "SuppressionReason": words.get(entry.reason, "HardBounce"),
        "Origin": "Recipient" if entry.reason in ("complaint", "unsubscribe") else "Customer",
        "CreatedAt": _iso(entry.created),
    }


def _sparkpost(entry: Listed) -> dict[str, Any]:
    words = {"complaint": "Spam Complaint", "unsubscribe": "Unsubscribe Link"}
    words["manual"] = "Manually Added"
    return {
        "recipient": entry.address,
        "type": "non_transactional",
        "source": words.get(entry.reason, "Bounce Rule"),
        "description": entry.evidence,
        "created": _iso(entry.created),
    }


_WRITERS: dict[str, tuple[Any, str, str]] = {
    "ses": (_ses, '{"SuppressedDestinationSummaries": [', "]}"),
    "sendgrid": (_sendgrid, "[", "]"),
    "mailgun": (_mailgun, '{"items": [', "]}"),
    "postmark": (_postmark, '{"Suppressions": [', "]}"),
    "sparkpost": (_sparkpost, '{"results": [', "]}"),
}
