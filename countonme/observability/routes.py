"""Route templates of request paths, for logs and metrics: `/v1/products/{pk}`."""

import re
from functools import lru_cache

from django.conf import settings
from django.urls import Resolver404, resolve

PLACEHOLDER = re.compile(r"<(?:\w+:)?(\w+)>")


def route_of(request) -> str | None:
    """Return the template of the request's path: `/v1/products/{pk}`. Return None for an unknown path."""
    match = request.resolver_match
    if match is not None:
        return template(match.route)
    return resolve_route(request.path_info)  # a middleware returned the response


@lru_cache(maxsize=256)
def resolve_route(path: str) -> str | None:
    if path.startswith(settings.STATIC_URL):
        return f"{settings.STATIC_URL}{{path}}"
    try:
        return template(resolve(path).route)
    except Resolver404:
        return None


@lru_cache(maxsize=256)
def template(route: str) -> str:
    return "/" + PLACEHOLDER.sub(r"{\1}", route)
