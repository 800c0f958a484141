"""What a message is made of: text beside HTML, size that Gmail shows, images, attachments, active content."""

from __future__ import annotations

__all__ = ("check_parts",)

from deliverability.preflight.demands import Verdict
from deliverability.preflight.findings import Notes
from deliverability.preflight.message import Attachment, Mail
from deliverability.preflight.page import Page

_CLIP = 102 * 1024
_IMAGES_MAX = 1_000_000  # octets carried within the message
_TEXT_MIN = 100  # visible characters beside images
_NAMES = (
    "ade adp apk appx appxbundle bat cab chm cmd com cpl diagcab diagcfg diagpkg dll dmg ex ex_ exe hta img ins iso "
    "isp jar jnlp js jse lib lnk mde mjs msc msi msix msixbundle msp mst nsh pif ps1 scr sct shb sys vb vbe vbs vhd "
    "vxd wsc wsf wsh xll"
)
_REFUSED = frozenset(_NAMES.split())
_MACROS = frozenset({"docm", "dotm", "xlsm", "xltm", "pptm", "potm", "ppsm", "html", "htm", "svg"})
_PROGRAMS = (b"MZ", b"\x7fELF", b"\xcf\xfa\xed\xfe")
_PLAIN = frozenset({"pdf", "doc", "docx", "xls", "xlsx", "txt", "jpg", "png", "csv", "zip"})


def check_parts(mail: Mail, page: Page | None, notes: Notes) -> None:
    """Check all that isn't a link or a name."""
    _check_text_part(mail, page, notes)
    if page is not None:
        _check_clipping(mail, notes)
        _check_active(page, notes)
    _check_weight(mail, page, notes)
    _check_attachments(mail, notes)


def _check_text_part(mail: Mail, page: Page | None, notes: Notes) -> None:
    if page is None:
        notes.passed("text-part", "the message", "is text")
    elif mail.text is None or not mail.text.strip():
        found = "HTML without a text part" if mail.text is None else "the text part is empty"
        mend = (
            "add a text part (multipart/alternative); Veredus derives it when the template has none"
        )
        notes.failed("text-part", "the message", found, mend)
    else:
        notes.passed("text-part", "the message", f"{len(mail.text.strip()):,} characters of text")


def _check_clipping(mail: Mail, notes: Notes) -> None:
    found = f"{mail.html_size / 1024:.0f} KB of HTML"
    if mail.html_size > _CLIP:
        mend = "shorten it below 102 KB: what is clipped are the end, the unsubscribe link and the pixel"
        notes.failed("clipping", "the HTML", found, mend)
    else:
        notes.passed("clipping", "the HTML", found)


def _check_active(page: Page, notes: Notes) -> None:
    if page.active:
        mend = "take it out and link to a page instead: no mailbox runs it, filters count it"
        notes.failed("active-content", "the HTML", ", ".join(page.active), mend)
    else:
        notes.passed("active-content", "the HTML", "none")


def _check_weight(mail: Mail, page: Page | None, notes: Notes) -> None:
    inside = sum(one.size for one in mail.attachments if one.kind.startswith("image/"))
    images = [image for image in page.images if not image.pixel] if page else []
    faults = []
    if inside > _IMAGES_MAX:
        faults.append(
            (f"{inside:,} octets of images within", "link to images, or make them smaller")
        )
    if any(image.source.lower().startswith("data:") for image in images):
        faults.append(
            ("images in data: addresses", "link to them: Gmail and Outlook don't show them")
        )
    if page is not None and images and page.text_length < _TEXT_MIN:
        found = f"{len(images)} images and {page.text_length} characters of text"
        faults.append((found, "say it in text too: many readers and all filters see no images"))
    blind = sum(not image.alt for image in images)
    if images and blind == len(images):
        faults.append((f"none of {blind} images has an alternative text", "give alt texts"))
    for found, mend in faults:
        notes.failed("weight", "the images", found, mend)
    if not faults and page is not None:
        notes.passed(
            "weight", "the images", f"{len(images)} images, {page.text_length:,} characters of text"
        )


def _check_attachments(mail: Mail, notes: Notes) -> None:
    files = [one for one in mail.attachments if not one.kind.startswith("image/")]
    for one in files:
        fault = _fault(one)
        if fault:
            found, mend, weight = fault
            notes.failed("attachments", one.name or one.kind, found, mend, weight)
        else:
            notes.passed("attachments", one.name or one.kind, f"{one.size:,} octets, {one.kind}")


def _fault(one: Attachment) -> tuple[str, str, Verdict] | None:
    labels = one.name.lower().strip(" .").split(".")
    ending = labels[-1] if len(labels) > 1 else ""
    if one.head.startswith(_PROGRAMS):
        return (
            "is a program, whatever its name",
            "send a link to where it is offered",
            Verdict.BLOCK,
        )
    if ending in _REFUSED:
        if len(labels) > 2 and labels[-2] in _PLAIN:
            found = f"pretends to be {labels[-2]}, is .{ending}"
            return found, "leave it out", Verdict.BLOCK
        return f".{ending} is refused", "send a link to where it is offered", Verdict.BLOCK
    if ending in _MACROS:
        return f".{ending} can carry code and is often refused", "send PDF, or a link", Verdict.WARN
    return None
