"""Tell of an exception without anything that a request brought: no locals, and of messages only what is ours.

A message can quote what was sent (`invalid literal for int(): 'Rye bread'`), and PostgreSQL adds the whole row to some.
The types, the files and the lines say enough to find a fault.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType

CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
DATABASE = ("django.db.utils", "psycopg", "sqlite3")
QUOTING = "DataError"  # it names the value that is out of range, or no number


def told(error: BaseException) -> str:
    """Return the exception with its traceback, after those that led to it."""
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
    """Return the message where it can quote nothing: it stands in the code that raised it, or is a database's own."""
    if is_of_database(error):
        return "" if QUOTING in {kind.__name__ for kind in type(error).__mro__} else _first_line(error)
    if isinstance(error, OSError):
        return error.strerror or ""
    said = error.args[0] if len(error.args) == 1 else None
    return said if isinstance(said, str) and said in _texts(error.__traceback__) else ""


def is_of_database(error: BaseException) -> bool:
    return any(kind.__module__.startswith(DATABASE) for kind in type(error).__mro__)


def _first_line(error: BaseException) -> str:
    """Return the first line, which names tables and constraints; the values are in those that follow."""
    return next(iter(str(error).splitlines()), "")


def _texts(raised: TracebackType | None) -> tuple:
    """Return the constants of the function that raised the exception."""
    while raised is not None and raised.tb_next is not None:
        raised = raised.tb_next
    return raised.tb_frame.f_code.co_consts if raised else ()
