import re
from functools import lru_cache

from django.conf import settings
from django.urls import Resolver404, resolve

SLOT = re.compile(r"<(?:\w+:)?(\w+)>")


def route_of(request) -> str | None:
    """Return the template of the request's path: `/v1/products/{pk}`. None where there is no such path."""
    match = request.resolver_match
    if match is not None:
        return template(match.route)
    if request.path_info.startswith(settings.STATIC_URL):
        return f"{settings.STATIC_URL}{{path}}"
    try:  # answered before its view was looked for
        return template(resolve(request.path_info).route)
    except Resolver404:
        return None


@lru_cache(maxsize=256)
def template(route: str) -> str:
    return "/" + SLOT.sub(r"{\1}", route)
