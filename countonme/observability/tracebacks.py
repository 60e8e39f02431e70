"""Format tracebacks without user data: no local variables, and only messages that are constants in the code.

A message can quote what was sent (`invalid literal for int(): 'Rye bread'`), and PostgreSQL adds the whole row to some.
The types, files and line numbers are enough to find a bug.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType

CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
DATABASE = ("django.db.utils", "psycopg", "sqlite3")
QUOTING = "DataError"  # its message quotes the invalid value


def format_redacted(error: BaseException) -> str:
    """Return the text of an exception and its traceback, after those of its causes."""
    return "\n\n".join(_chain(error, set()))


def _chain(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before, link = error.__cause__, CAUSE
    if before is None and not error.__suppress_context__:
        before, link = error.__context__, CONTEXT
    if before is not None and id(before) not in seen:
        yield from _chain(before, seen)
        yield link
    yield _one(error)


def _one(error: BaseException) -> str:
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__)).format()
    message = safe_message(error)
    heading = "Traceback (most recent call last):\n" if frames else ""
    return f"{heading}{''.join(frames)}{name_of(error)}{f': {message}' if message else ''}"


def name_of(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def safe_message(error: BaseException) -> str:
    """Return the message if it can't quote user data, else an empty string.

    That is a constant in the code that raised the exception, or the first line of a database error.
    """
    if is_database_error(error):
        return "" if QUOTING in {kind.__name__ for kind in type(error).__mro__} else _first_line(error)
    if isinstance(error, OSError):
        return error.strerror or ""
    message = error.args[0] if len(error.args) == 1 else None
    return message if isinstance(message, str) and message in _constants(error.__traceback__) else ""


def is_database_error(error: BaseException) -> bool:
    return any(kind.__module__.startswith(DATABASE) for kind in type(error).__mro__)


def _first_line(error: BaseException) -> str:
    """Return the first line, which names tables and constraints. Values are in the lines after it."""
    return next(iter(str(error).splitlines()), "")


def _constants(raised: TracebackType | None) -> tuple:
    """Return the constants of the function that raised the exception."""
    while raised is not None and raised.tb_next is not None:
        raised = raised.tb_next
    return raised.tb_frame.f_code.co_consts if raised else ()
