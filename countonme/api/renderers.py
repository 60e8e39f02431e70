"""JSON responses, written with orjson."""

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal

import orjson
from django.http import HttpResponse
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer

# The end of a time without a fraction, or of a text that looks like one. `Z"` is first, because it is rarer than `:`.
WHOLE_SECOND = re.compile(rb'Z"(?<=:[0-9]{2}Z")')


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
    """Return JSON in UTF-8. A time has six fraction digits.

    orjson omits the fraction of a whole second. This is rare, so all times of such a response are written again, by
    Python. The search takes 3 % of the worker's CPU time in "a first read of 200 products" (`make bench`), and 1 % in
    "product list of 50".
    """
    body = orjson.dumps(data, default=_default, option=orjson.OPT_UTC_Z)
    if WHOLE_SECOND.search(body):
        return orjson.dumps(data, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return body


def _default(value):
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Promise):  # a lazy string
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
