"""How the instance writes about itself: structured lines on standard error. No addresses, no content, no secrets."""

from __future__ import annotations

__all__ = ("configure",)

import logging
import sys
from typing import Literal

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str, form: Literal["auto", "text", "json"]) -> None:
    """Set up logging of this process, once."""
    terminal = sys.stderr.isatty()
    as_text = form == "text" or (form == "auto" and terminal)
    last = (
        structlog.dev.ConsoleRenderer(
            colors=terminal, exception_formatter=structlog.dev.plain_traceback
        )
        if as_text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # without locals, which may hold personal data
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS.get(level, logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
