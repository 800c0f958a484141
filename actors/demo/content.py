"""What the demo sends and when: its scenarios as texts, and its templates put together from their files.

A template is three files: `name.toml` (subject, preheader, and the button's text and link),
`name.html` and `name.txt` (what stands in the layout). All are in minijinja's language, with the
variables that a journey gives: `contact`, `event` and `journey`; what another log may not have is
asked for with `is defined` or `default`.
"""

from __future__ import annotations

__all__ = ("FROM_ADDRESS", "FROM_DOMAIN", "FROM_NAME", "scenario_files", "scenarios", "templates")

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from deliverability.compose.template import Template

FROM_DOMAIN = "nimbus.example"
FROM_ADDRESS = f"hello@{FROM_DOMAIN}"
FROM_NAME = "Nimbus Records"


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a template's TOML file holds."""

    subject: str
    preheader: str
    button: str
    link: str


def scenarios() -> dict[str, str]:
    """Give the text of each scenario by its file's name."""
    return {path.name: path.read_text("utf-8") for path in scenario_files()}


def scenario_files() -> list[Path]:
    """Give the paths of the scenario files, by name."""
    folder = Path(str(files(__package__) / "scenarios"))
    return sorted(folder.glob("*.yaml"))


def templates() -> dict[str, Template]:
    """Put all templates together, by name."""
    folder = files(__package__) / "templates"
    names = sorted(
        path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml")
    )
    return {name: _template(folder, name) for name in names}


def _template(folder: Traversable, name: str) -> Template:
    head = msgspec.toml.decode((folder / f"{name}.toml").read_bytes(), type=Head)
    return Template(
        name=name,
        subject=head.subject,
        html=_filled(folder, name, "html", head),
        from_address=FROM_ADDRESS,
        text=_filled(folder, name, "txt", head),
        from_name=FROM_NAME,
    )


def _filled(folder: Traversable, name: str, suffix: str, head: Head) -> str:
    page = (folder / f"layout.{suffix}").read_text("utf-8")
    body = (folder / f"{name}.{suffix}").read_text("utf-8").strip()
    for hole, value in (
        ("preheader", head.preheader),
        ("link", head.link),
        ("button", head.button),
        ("body", body),
    ):
        page = page.replace(f"<!-- {hole} -->", value)
    return page
