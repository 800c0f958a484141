"""The endpoints of lists of products: import, list, look at a row. For operators."""

from __future__ import annotations

__all__ = ("PRODUCT_HANDLERS", "ProductsIn")

import asyncio
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.params import FromPath, QueryParameter
from msgspec import Meta

from actors.gateway.handling import found, operator_only, tenant_of
from actors.gateway.planning_asking import asked_of, keeper_of
from actors.gateway.planning_wire import ByCommand
from actors.planning.products import (
    Product,
    ProductLine,
    ProductLists,
    import_products,
    list_products,
    product,
)
from scenarios.product_files import read_products

_Request = Request[Any, Any, Any]


class ProductsIn(ByCommand, frozen=True, kw_only=True):
    """A list of products: the text of a CSV or JSON file, and the column that names a row."""

    text: Annotated[str, Meta(description="CSV with a header, or JSON objects")]
    key: Annotated[str, Meta(max_length=64)] = "sku"
    file: Annotated[str, Meta(max_length=300, description="for places of mistakes")] = ""


@post("/v1/products/{name:str}", status_code=200, guards=[operator_only], opt={"body": ProductsIn})
async def post_products(request: _Request, name: FromPath[str]) -> ProductLine:
    """Put a list of products in the place of the one of that name; the same again changes nothing."""
    asked, author = await asked_of(request, ProductsIn)
    # fifty thousand rows take half a second to read: requests go on beside it
    made = await asyncio.to_thread(read_products, asked.text, asked.file, asked.key)
    desk = keeper_of(request).versions
    return import_products(desk, tenant_of(request), name, made, author)


@get("/v1/products", guards=[operator_only])
async def get_products(request: _Request) -> ProductLists:
    """List the lists of products, with their columns."""
    return list_products(keeper_of(request).versions, tenant_of(request))


@get("/v1/products/{name:str}", guards=[operator_only])
async def get_product(
    request: _Request,
    name: FromPath[str],
    key: Annotated[str, QueryParameter(max_length=200, description="Of which row.")],
) -> Product:
    """Show a row of a list."""
    return found(product(keeper_of(request).versions, tenant_of(request), name, key), "product")


PRODUCT_HANDLERS = (post_products, get_products, get_product)
