"""The response to a push. It is written in parts, because it can be several times as long as the request body."""

from collections.abc import Iterable, Iterator

from countonme.api.compression import Body
from countonme.api.renderers import as_json

Rejected = dict[str, dict[str, list[dict]]]  # errors by id by table

PART = 64 * 1024  # bytes
LARGE = 1024 * 1024  # bytes; a larger response is kept in memory in compressed form


def render(rejected: Rejected, *, gzip: bool) -> Body:
    """Return the rejected rows and their errors as JSON."""
    body = Body(gzip=gzip, large=LARGE)
    for part in joined(parts_of(rejected)):
        body.write(part)
    return body


def parts_of(rejected: Rejected) -> Iterator[bytes]:
    yield b'{"experimentalRejectedIds":{'
    for comma, table in after_commas(rejected):
        yield comma + as_json(table) + b":["
        for separator, row_id in after_commas(rejected[table]):
            yield separator + as_json(row_id)
        yield b"]"
    yield b'},"rejected":['
    rows = ((table, row_id, errors) for table, ids in rejected.items() for row_id, errors in ids.items())
    for comma, (table, row_id, errors) in after_commas(rows):
        yield comma + as_json({"table": table, "id": row_id, "errors": errors})
    yield b"]}"


def after_commas(items: Iterable) -> Iterator[tuple[bytes, object]]:
    """Yield each item with the comma that JSON has before it, which is empty before the first."""
    comma = b""
    for item in items:
        yield comma, item
        comma = b","


def joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join short parts, because each object takes memory of its own."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        if len(buffer) >= PART:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)
