"""Log lines: JSON objects, or text for a terminal. They contain no path, because the ids in it are private."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache

import orjson

from countonme.observability.routes import route_of
from countonme.observability.tracebacks import format_redacted

request_id: ContextVar[str] = ContextVar("request_id", default="-")

REQUEST_LINE = "%(method)s %(route)s %(status)s, %(ms)s ms, %(bytes)s bytes, device %(device)s"


class RequestIdFilter(logging.Filter):
    """Adds the id of the current request to each log record, `-` outside of a request."""

    def filter(self, record) -> bool:
        # Django logs some requests after their end, with their path. The route replaces the path.
        request = getattr(record, "request", None)
        record.request_id = getattr(request, "id", None) or request_id.get()
        if request is not None and isinstance(record.args, tuple):
            path = getattr(request, "path", None)
            record.args = tuple(route_of(request) if arg == path else arg for arg in record.args)
        return True


class TextFormatter(logging.Formatter):
    """Formats lines for people. `unredacted` shows the messages of all exceptions, for development."""

    def __init__(self, *, unredacted: bool = False):
        super().__init__("{asctime} {levelname} [{request_id}] {name}: {message}", style="{")
        self.unredacted = unredacted

    def formatException(self, exc_info) -> str:
        return super().formatException(exc_info) if self.unredacted else format_redacted(exc_info[1])

    def format_request(self, facts: dict) -> str:
        level = logging.getLevelNamesMapping()[facts["level"]]
        record = logging.LogRecord(facts["logger"], level, __file__, 0, REQUEST_LINE, (facts,), None)
        record.request_id = facts["request_id"]
        return self.format(record)


class JSONFormatter(TextFormatter):
    """Formats each record as a JSON object on one line. A traceback is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "request_id": record.request_id,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = self.formatException(record.exc_info)
        return self.format_request(line)

    def format_request(self, facts: dict) -> str:
        try:
            return orjson.dumps(facts, option=orjson.OPT_UTC_Z).decode()
        except orjson.JSONEncodeError:  # a lone surrogate, as in a file's name
            return json.dumps(facts, default=str)


FORMATTERS = {"json": JSONFormatter, "text": TextFormatter}


class Console(logging.StreamHandler):
    """The log's handler. It writes to stderr."""

    def write_request(self, facts: dict) -> None:
        """Write the line of a request without a LogRecord, which takes more time than the line itself."""
        line = self.formatter.format_request(facts)
        try:
            with self.lock:
                self.stream.write(line + self.terminator)
        except (OSError, ValueError):  # stderr is closed; the response is sent all the same
            pass


def write_request(facts: dict) -> None:
    for console in consoles():
        console.write_request(facts)


@cache
def consoles() -> list[Console]:
    return [handler for handler in logging.root.handlers if isinstance(handler, Console)]
