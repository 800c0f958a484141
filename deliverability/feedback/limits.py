"""The bounds that hostile input meets, in one place.

What lies beyond a bound is not read, and the reading says so by the bound's name in `Reading.limits`; nothing is
ever refused by running out of time or memory. The worst case of one call of `read` is a few passes over
`MAIL_BYTES` of input plus `UNPACKED_BYTES` of unpacked reports.
"""

from __future__ import annotations

__all__ = (
    "ARCHIVE_MEMBERS",
    "DIAGNOSTIC_CHARS",
    "FIELD_CHARS",
    "HEADER_BYTES",
    "HEADER_FIELDS",
    "MAILS_PER_FILE",
    "MAIL_BYTES",
    "MIME_DEPTH",
    "MIME_PARTS",
    "PROSE_CHARS",
    "PROSE_LINES",
    "RATIO",
    "RECIPIENTS",
    "REPLY_CHARS",
    "REPORT_BYTES",
    "UNPACKED_BYTES",
    "XML_DEPTH",
    "XML_RECORDS",
)

MAIL_BYTES = 16 * 1024 * 1024
"""Bytes of one mail that are looked at."""
MAILS_PER_FILE = 1_000
"""Mails read from one mbox file."""
HEADER_BYTES = 256 * 1024
"""Bytes of one header block that are parsed."""
HEADER_FIELDS = 1_000
"""Fields of one header block that are parsed."""
FIELD_CHARS = 8_192
"""Characters kept of one header field."""
MIME_DEPTH = 8
"""Levels of nested multiparts and messages."""
MIME_PARTS = 100
"""Parts of one mail."""
REPORT_BYTES = 256 * 1024
"""Bytes of a machine-readable part (delivery-status, feedback-report) that are parsed."""
PROSE_CHARS = 64 * 1024
"""Characters of human-readable text that are searched."""
PROSE_LINES = 1_000
"""Lines of human-readable text that are searched."""
RECIPIENTS = 1_000
"""Recipients reported by one mail."""
DIAGNOSTIC_CHARS = 2_000
"""Characters kept of one diagnostic."""
REPLY_CHARS = 1_000
"""Characters of one SMTP reply that the classifier looks at."""
UNPACKED_BYTES = 64 * 1024 * 1024
"""Bytes one compressed report may unpack to."""
RATIO = 250
"""How many times its size a compressed report above 1 MB may unpack to."""
ARCHIVE_MEMBERS = 8
"""Members of a zip archive that are looked at."""
XML_DEPTH = 32
"""Depth of elements in an XML report."""
XML_RECORDS = 40_000
"""Records of an aggregate report that are counted."""
