from collections.abc import Callable
from urllib.parse import urlencode

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from countonme.api.fields import QueryNumberField

FURTHEST = 1_000_000

LINK = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    response=[200],
    description='Where there is a next page, its address: `<…>; rel="next"`.',
)


class PageQuery(serializers.Serializer):
    """The query of a list. Its subclasses add what a list can be narrowed by."""

    limit = QueryNumberField(min_value=1, max_value=200, default=50, help_text="Rows a page.")
    offset = QueryNumberField(min_value=0, max_value=FURTHEST, default=0, help_text="Rows to skip.")


def page(request: Request, read: Callable[..., list], *, limit: int, offset: int, **query) -> tuple[list, dict]:
    """Return the page's rows and its headers: `Link` where there is a next page, found by reading one row more."""
    found = read(**query, limit=limit + 1, offset=offset)
    if len(found) <= limit or offset + limit > FURTHEST:
        return found[:limit], {}
    sent = request.query_params
    query = dict(sent.lists()) | {"limit": limit, "offset": offset + limit}
    address = f"{request.path}?{urlencode(query, doseq=True, encoding=sent.encoding)}"
    return found[:limit], {"Link": f'<{request.build_absolute_uri(address)}>; rel="next"'}
