"""Error bodies of the API. An error is a tuple: the parts of `loc`, the message (`msg`), and the type."""

NO_PRODUCT = ("product_id", "There is no such product.", "does_not_exist")
NO_PORTION = ("portion_id", "There is no such portion.", "does_not_exist")


def id_taken_body(*ids) -> dict:
    """Return the body of a 409 for ids that are taken."""
    return conflict_body("This id is taken", *ids)


def conflict_body(detail: str, *ids) -> dict:
    """Return the body of a 409. `ids` are those of the rows in the way."""
    return {"detail": detail, "conflict": [str(each) for each in ids]}


def error_item(*error) -> dict:
    """Return one of the `errors` of a 422."""
    *loc, message, kind = error
    return {"loc": loc, "field": ".".join(map(str, loc)), "msg": message, "type": kind}


def validation_error_body(*errors: tuple) -> dict:
    """Return the body of a 422 with these errors."""
    return {
        "detail": "Validation error",
        "errors": [error_item(*error) for error in errors],
    }
