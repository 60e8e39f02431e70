"""Tables of valid and invalid values of a field, with the expected errors. The values are JSON texts."""

import pytest

# Messages of Django REST framework, each with its error type.
REQUIRED = ("This field is required.", "required")
NULL = ("This field may not be null.", "null")
BLANK = ("This field may not be blank.", "blank")
NOT_A_STRING = ("Not a valid string.", "invalid")
NOT_A_NUMBER = ("A valid number is required.", "invalid")
NOT_A_BOOLEAN = ("Must be a valid boolean.", "invalid")
NOT_A_UUID = ("Must be a valid UUID.", "invalid")

NIL = ("The nil UUID is not allowed.", "nil")

INVALID_UUIDS = [
    *["7", "true", "[]", "{}", '""', '"rye"', '"7f1c2f6e61a54a6a9d550a3f0c5f8e10"'],
    *['"{7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10}"', '"urn:uuid:7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10"'],
    *[r'"7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10\u0000"', r'"\ud83c"', '"7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e1g"'],
]


def error_below(limit) -> tuple:
    return f"Ensure this value is greater than or equal to {limit}.", "min_value"


def error_above(limit) -> tuple:
    return f"Ensure this value is less than or equal to {limit}.", "max_value"


def not_an_object(kind: str) -> tuple:
    return f"Invalid data. Expected a dictionary, but got {kind}.", "invalid"


EMPTY_LIST = ("[]", not_an_object("list"))
NOT_OBJECTS = [
    ("null", NULL),
    ('"Rye"', not_an_object("str")),
    ("7", not_an_object("int")),
    ("true", not_an_object("bool")),
]


def table(rows):
    """Parametrize a test with the rows of a table. The id of each row has its field and value."""
    names = [f"{field}={value if len(value) < 40 else f'{value[:12]}…{len(value)}'}" for field, value, _ in rows]
    return pytest.mark.parametrize(("field", "value", "expected"), rows, ids=[ascii(name) for name in names])


def send(api, method: str, path: str, fields: dict[str, str] | str):
    if isinstance(fields, dict):
        fields = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
    return api.generic(method, path, fields, content_type="application/json")
