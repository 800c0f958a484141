"""The OpenAPI document: Litestar's of the endpoints, and from the request Structs what Litestar doesn't see.

Handlers decode their bodies themselves, to name item and field of a mistake and to keep the bytes; which Struct they
decode stands in their options (`body`, `many`, `optional`), and goes into the document here.
"""

from __future__ import annotations

__all__ = ("document",)

from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from actors.gateway.bodies import LINE_TYPES
from actors.gateway.problems import Problem

_REF = "#/components/schemas/{name}"


def document(app: Litestar) -> bytes:
    """Make the document as JSON. OpenAPI 3.1."""
    tree: dict[str, Any] = app.openapi_schema.to_schema()
    schemas: dict[str, Any] = tree.setdefault("components", {}).setdefault("schemas", {})
    _, problem_schemas = msgspec.json.schema_components([Problem], ref_template=_REF)
    schemas.update(problem_schemas)
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema():
                for method in handler.http_methods:
                    _complete(
                        tree["paths"][route.path_format][method.lower()], handler.opt, schemas
                    )
    components = tree["components"]
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    tree["security"] = [{"key": []}]
    return msgspec.json.encode(tree)


def _complete(operation: dict[str, Any], opt: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add the request body and the form of errors to one operation."""
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    operation["responses"].pop("400", None)
    operation["responses"]["default"] = {"description": "A problem (RFC 9457).", "content": problem}
    body = opt.get("body")
    if body is None:
        return
    _, found = msgspec.json.schema_components([body], ref_template=_REF)
    schemas.update(found)
    one: dict[str, Any] = {"$ref": _REF.format(name=body.__name__)}
    content: dict[str, Any] = {"application/json": {"schema": one}}
    if opt.get("many"):
        content["application/json"] = {"schema": {"oneOf": [one, {"type": "array", "items": one}]}}
        content |= {media_type: {"schema": one} for media_type in sorted(LINE_TYPES)}
    operation["requestBody"] = {"required": not opt.get("optional"), "content": content}
