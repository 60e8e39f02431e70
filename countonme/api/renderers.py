"""JSON responses, written with orjson."""

from decimal import Decimal

import orjson
from django.http import HttpResponse
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer


class JSONResponse(HttpResponse):
    """A JSON response that is rendered when it is created.

    DRF's Response is a TemplateResponse. It does work for HTML templates, and is rendered after the view has returned.
    """

    def __init__(self, data, status: int = 200, headers: dict[str, str] | None = None):
        super().__init__(as_json(data), JSONRenderer.media_type, status)
        for name, value in (headers or {}).items():
            self[name] = value


class SecretResponse(JSONResponse):
    """A JSON response with a secret, such as a token. It is never compressed: `CompressionMiddleware` says why."""

    compressible = False


class JSONRenderer(BaseRenderer):
    """DRF renderer that uses orjson, which supports UUIDs, dates and times.

    A Decimal becomes a JSON number. Every amount has 2 places and at most 15 digits, so the shortest text of the
    nearest double has exactly the same digits.
    """

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data, accepted_media_type=None, renderer_context=None) -> bytes:
        if data is None:
            return b""
        return as_json(data)


def as_json(data) -> bytes:
    return orjson.dumps(data, default=_default, option=orjson.OPT_UTC_Z)


def _default(value):
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Promise):  # a lazy string
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
