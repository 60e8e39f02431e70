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
    return route_at(request.path_info)  # answered before its view was looked for


@lru_cache(maxsize=256)
def route_at(path: str) -> str | None:
    if path.startswith(settings.STATIC_URL):
        return f"{settings.STATIC_URL}{{path}}"
    try:
        return template(resolve(path).route)
    except Resolver404:
        return None


@lru_cache(maxsize=256)
def template(route: str) -> str:
    return "/" + SLOT.sub(r"{\1}", route)
