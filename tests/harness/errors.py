"""Error bodies of the API. An error is a tuple: the parts of `loc`, the message (`msg`), and the type."""

ID_TAKEN = {"detail": "This id is taken"}
NO_PRODUCT = ("product_id", "There is no such product.", "does_not_exist")
NO_PORTION = ("portion_id", "There is no such portion.", "does_not_exist")


def validation_error_body(*errors: tuple) -> dict:
    """Return the body of a 422 with these errors."""
    return {
        "detail": "Validation error",
        "errors": [{"loc": loc, "msg": message, "type": kind} for *loc, message, kind in errors],
    }
