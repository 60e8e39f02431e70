"""The answer to a push, written row by row: where many are refused, it is several times as long as what was sent."""

from io import BytesIO

from countonme.api.renderers import JSONRenderer

Refused = dict[str, dict[str, list[dict]]]  # errors by id by table


def written(refused: Refused) -> bytes:
    """Return which rows were refused, and why, as JSON, and let go of each one that is written."""
    as_json = JSONRenderer().render
    answer = BytesIO()  # unlike the buffer of a writer of JSON it grows by an eighth, not to the double
    answer.write(b'{"experimentalRejectedIds":')
    answer.write(as_json({table: list(rows) for table, rows in refused.items()}))
    answer.write(b',"rejected":[')
    separator = b""
    for table, rows in refused.items():
        waiting = list(reversed(rows.items()))
        rows.clear()
        while waiting:
            row_id, errors = waiting.pop()
            answer.write(separator + as_json({"table": table, "id": row_id, "errors": errors}))
            separator = b","
    answer.write(b"]}")
    return answer.getvalue()
