"""Request bodies: JSON in UTF-8, with a limited number of values."""

import json

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import JSONParser

from countonme.middleware.disconnects import has_disconnected

# A parsed body takes up to a hundred times the memory of its bytes: an empty dict takes 64 bytes, and a pointer to it.
MAX_CONTAINERS = 120_000  # objects and arrays in one body
MAX_VALUES = 1_500_000  # values of any kind in one body, objects and arrays included

SIGNS = b'"[{,'  # what JSON's structure can be counted by
OTHERS = bytes(set(range(256)) - set(SIGNS))
CHUNK = 256 * 1024  # signs that are split at once, because each part of a split takes memory


class BodyTooComplex(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = (
        f"The body has more than {MAX_CONTAINERS:,} objects and arrays, or more than {MAX_VALUES:,} values."
    )


def sent_data(request):
    """Return the parsed body of a DRF request. Raise ParseError (400) if it is missing or the client has disconnected.

    `request.data` is empty for a missing body, as if `{}` had been sent: a request that lost its body would succeed.
    """
    require_body(request)
    data = request.data
    require_client(request)
    return data


def require_body(request) -> None:
    if request.stream is None:
        raise ParseError("The body is missing.")


def require_client(request) -> None:
    """Raise ParseError if the client has disconnected after it sent the body. It will retry."""
    if has_disconnected(request):
        raise ParseError("The client has disconnected.")


def sent_bytes(request) -> bytes:
    """Return the raw body of a DRF request. Raise the same errors as `sent_data()`, and 415 if it is not JSON.

    Call it once: the request keeps neither the body nor the parsed data. DRF's requests, views and responses refer to
    each other until Python's garbage collector frees them. A few large bodies would fill the memory until then.
    """
    require_body(request)
    if request.negotiator.select_parser(request, request.parsers) is None:
        raise UnsupportedMediaType(request.content_type)
    sent = request.stream.read()
    require_client(request)
    return sent


class StrictJSONParser(JSONParser):
    """Parse JSON by RFC 8259: UTF-8, no NaN, no Infinity. The number of values is limited.

    A lone surrogate is accepted here. The field that contains it rejects it, so that the error names the field.
    """

    def parse(self, stream, media_type=None, parser_context=None):
        sent = stream.read()
        if parser_context and is_cut_short(parser_context["request"], len(sent)):
            raise ParseError("JSON parse error - the body is shorter than its Content-Length")
        if is_too_complex(sent):
            raise BodyTooComplex
        try:
            return loads(sent.decode())
        except UnicodeDecodeError as error:
            raise ParseError("JSON parse error - the body is not UTF-8") from error
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error


def is_too_complex(body: bytes) -> bool:
    """Return whether a JSON body has more objects, arrays or values than are accepted, without parsing it."""
    containers = body.count(b"{") + body.count(b"[")
    if containers <= MAX_CONTAINERS and containers + body.count(b",") <= MAX_VALUES:
        return False
    # That also counted brackets and commas in strings.
    structure = structure_of(body)
    containers = structure.count(b"{") + structure.count(b"[")
    return containers > MAX_CONTAINERS or containers + structure.count(b",") > MAX_VALUES


def structure_of(body: bytes) -> bytes:
    """Return the opening brackets and the commas of a JSON text that are not in strings.

    It takes linear time. If the text is not valid JSON, the result is right up to the first error, and the parser stops
    there.
    """
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")  # escaped backslashes, and then escaped quotes
    # Two quotes with no sign between them can be left out: it makes no difference to what is inside of a string.
    signs = body.translate(None, OTHERS).replace(b'""', b"")
    outside, in_string = [], False
    for start in range(0, len(signs), CHUNK):
        parts = signs[start : start + CHUNK].split(b'"')
        outside.append(b"".join(parts[in_string::2]))
        in_string ^= len(parts) % 2 == 0
    return b"".join(outside)


def is_cut_short(request, length: int) -> bool:
    """Return whether the client has disconnected while it was sending. The received part may be valid JSON."""
    return length < content_length(request)


def content_length(request) -> int:
    """Return the request's Content-Length in bytes; 0 if it is missing or invalid."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def loads(text: str):
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses integers of more than 4,300 digits. They are valid JSON, and out of every field's bounds.
        return json.loads(text, parse_constant=_refuse, parse_int=float)


def _refuse(constant: str):
    raise json.JSONDecodeError(f"{constant} is not JSON", constant, 0)


_decoder = json.JSONDecoder(parse_constant=_refuse)  # json.loads() would create one at each call
