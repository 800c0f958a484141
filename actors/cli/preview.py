"""`veredus preview`: what a contact would get, in the terminal, as JSON, or in the browser. Nothing is sent."""

from __future__ import annotations

__all__ = ("app",)

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from actors.cli.options import AsJson, Data, Tenant, new_app
from actors.cli.output import print_json, print_line
from engine.errors import InputError, Place

if TYPE_CHECKING:
    from actors.preview.rendering import Preview, View

app = new_app(
    "Show what a contact would get: a template, or a step that sends; or what a step would post."
)

_Event = Annotated[
    Path | None,
    typer.Option("--event", metavar="FILE", help="JSON: the data of the event that opened it."),
]
_Variables = Annotated[
    Path | None,
    typer.Option("--variables", metavar="FILE", help="JSON: other variables of the template."),
]
_Languages = Annotated[
    list[str] | None,
    typer.Option(
        "--language", metavar="CODE", help="May be repeated. Default: the contact's, else all."
    ),
]
_Templates = Annotated[
    Path | None,
    typer.Option("--templates", metavar="DIR", help="Default: beside the scenario, or published."),
]


@app.command()
def preview(
    target: Annotated[
        str,
        typer.Argument(
            help="A template NAME.toml; a scenario's file, folder or library name; or the name of one published."
        ),
    ],
    step: Annotated[
        str,
        typer.Argument(
            metavar="[STEP]", help="The step that sends, if there are several; or one that calls."
        ),
    ] = "",
    contact: Annotated[
        str, typer.Option(metavar="FILE|ID", help="Attributes as JSON, or a contact's id.")
    ] = "",
    event: _Event = None,
    variables: _Variables = None,
    language: _Languages = None,
    templates: _Templates = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: ./veredus.toml, if it is there."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a page, too.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    tenant: Tenant = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what TARGET makes of a contact: subject, HTML, text, headers, links, sizes, and what could be better.

    What nobody gives is made up, and the preview says so; of a contact or an event that is given nothing is made up, so
    that a missing value shows here and not at the send. Exit status 2: it can't be rendered.
    """
    from actors.cli.client import find_data_dir
    from actors.preview.reading import find_sender, find_subject
    from actors.preview.rendering import Given
    from actors.preview.rendering import preview as make

    sender = find_sender(config, tenant)
    folder = find_data_dir(data, os.environ)
    if _previewed_call(target, step, folder, sender.tenant.name, (contact, event, data), as_json):
        return
    subject = find_subject(target, step, templates, folder, sender.tenant)
    given = Given(
        _contact(contact, data, tenant) if contact else None,
        _read(event) if event else None,
        _read(variables) if variables else {},
    )
    made = make(subject, sender, given, language or [], time.time_ns() // 1_000_000)
    page = _paged(made, html, show)
    if as_json:
        print_json(made)
        return
    _tell(made)
    if page is not None:
        print_line(f"Wrote {page}")


def _previewed_call(
    target: str,
    step: str,
    folder: Path,
    tenant: str,
    given: tuple[str, Path | None, Path | None],
    as_json: bool,
) -> bool:
    """Show what a `webhook` step would post; False: the step is none. `given`: contact, event, data directory."""
    from actors.preview.calling import find_calling, preview_call

    scenario = find_calling(target, step, folder, tenant)
    if scenario is None:
        return False
    contact, event, data = given
    attributes = _contact(contact, data, tenant) if contact else {}
    now_ms = time.time_ns() // 1_000_000
    made = preview_call(scenario, step, attributes, _read(event) if event else {}, now_ms)
    if as_json:
        print_json(made)
        return True
    print_line(f"{made.scenario} {made.version}, step {made.step}, posts to {made.endpoint}:")
    print_line(msgspec.json.format(bytes(made.body)).decode())
    for name, why in made.without_value.items():
        print_line(f"left out  {name}: {why}")
    return True


def _contact(told: str, data: Path | None, tenant: str) -> dict[str, Any]:
    """Read a contact's attributes out of a file, or ask the instance that runs."""
    if Path(told).exists() or told.endswith(".json"):
        found = _read(Path(told))
        attributes = found.get("attributes", found)
        if not isinstance(attributes, dict):
            raise InputError("`attributes` isn't an object", Place(told))
        return attributes
    from actors.backend import ContactView
    from actors.cli.client import Client, find_data_dir, quoted

    with Client(find_data_dir(data, os.environ), tenant) as client:
        return client.get(f"/v1/contacts/{quoted(told)}", ContactView).attributes


def _read(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Place(str(file))) from None
    except msgspec.MsgspecError as error:
        raise InputError(str(error), Place(str(file)), "one JSON object") from None


def _paged(made: Preview, html: Path | None, show: bool) -> Path | None:
    """Write the page if it is asked for; with `--open` alone into a folder for such files."""
    if html is None and not show:
        return None
    from actors.preview.page import write_page

    path = html
    if path is None:
        import tempfile

        path = Path(tempfile.mkdtemp(prefix="veredus-preview-")) / f"{made.template}.html"
    write_page(made, path)
    if show:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return path


def _tell(made: Preview) -> None:
    if made.step:
        print_line(f"{made.scenario} {made.version}, step {made.step}, template {made.template}")
    if made.made_up:
        print_line(f"made up: {', '.join(made.made_up)}")
    for view in made.views:
        _tell_view(view)


def _tell_view(view: View) -> None:
    rows = [
        ("language", view.language),
        ("subject", view.subject),
        ("from", view.sender),
        ("to", view.to),
        ("size", f"{view.size:,} octets, HTML {view.html_size:,}"),
        *(("link", f"{one.text or '(no text)'} → {one.href}") for one in view.links),
        *(
            (one.weight, f"{one.found} ({one.mend})" if one.mend else one.found)
            for one in view.hints
        ),
    ]
    print_line("")
    for label, value in rows:
        print_line(f"{label:<9} {value}")
    print_line(f"\n{view.text or '(no text part)'}")
