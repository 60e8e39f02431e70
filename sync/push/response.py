"""The response to a push. It is written row by row, because it can be several times as long as the request body."""

from io import BytesIO

from countonme.api.renderers import JSONRenderer

Rejected = dict[str, dict[str, list[dict]]]  # errors by id by table


def render(rejected: Rejected) -> bytes:
    """Return the rejected rows and their errors as JSON. Each row is removed from `rejected` when it is written."""
    as_json = JSONRenderer().render
    response = BytesIO()  # its buffer grows by an eighth; that of a JSON writer doubles
    response.write(b'{"experimentalRejectedIds":')
    response.write(as_json({table: list(rows) for table, rows in rejected.items()}))
    response.write(b',"rejected":[')
    separator = b""
    for table, rows in rejected.items():
        remaining = list(reversed(rows.items()))
        rows.clear()
        while remaining:
            row_id, errors = remaining.pop()
            response.write(separator + as_json({"table": table, "id": row_id, "errors": errors}))
            separator = b","
    response.write(b"]}")
    return response.getvalue()
