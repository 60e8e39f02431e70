"""Pagination of lists: `limit`, `offset` and the `Link` header."""

from collections.abc import Callable
from urllib.parse import urlencode

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from countonme.api.fields import QueryNumberField

MAX_LIMIT = 200  # rows per page
MAX_OFFSET = 1_000_000

LINK = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    response=[200],
    description='The URL of the next page, if there is one: `<…>; rel="next"`.',
)


class PageQuery(serializers.Serializer):
    """The query parameters of a list. Subclasses add filters."""

    limit = QueryNumberField(min_value=1, max_value=MAX_LIMIT, default=50, help_text="Rows per page.")
    offset = QueryNumberField(min_value=0, max_value=MAX_OFFSET, default=0, help_text="Rows to skip.")


def page(
    request: Request, read: Callable[..., list], *, limit: int, offset: int, max_offset: int = MAX_OFFSET, **query
) -> tuple[list, dict]:
    """Return the page's rows and headers: `Link` if there is a next page. `read` is called for one row more."""
    rows = read(**query, limit=limit + 1, offset=offset)
    if len(rows) <= limit or offset + limit > max_offset:
        return rows[:limit], {}
    sent = request.query_params
    query = dict(sent.lists()) | {"limit": limit, "offset": offset + limit}
    url = f"{request.path}?{urlencode(query, doseq=True, encoding=sent.encoding)}"
    return rows[:limit], {"Link": f'<{request.build_absolute_uri(url)}>; rel="next"'}
