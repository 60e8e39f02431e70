"""The lines of the log: one JSON object each, or text for a terminal. They name no path, since ids are private."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache

import orjson

from countonme.observability.routes import route_of
from countonme.observability.tracebacks import told

request_id: ContextVar[str] = ContextVar("request_id", default="-")

OF_A_REQUEST = "%(method)s %(route)s %(status)s, %(ms)s ms, %(bytes)s bytes, device %(device)s"


class RequestIdFilter(logging.Filter):
    """Put the id of the request that is being served on each log line, `-` outside of one."""

    def filter(self, record) -> bool:
        # Django says of some requests how they ended when they are over: it names them, with their path.
        request = getattr(record, "request", None)
        record.request_id = getattr(request, "id", None) or request_id.get()
        if request is not None and isinstance(record.args, tuple):
            path = getattr(request, "path", None)
            record.args = tuple(route_of(request) if arg == path else arg for arg in record.args)
        return True


class TextFormatter(logging.Formatter):
    """Write lines for people. `whole` shows all that exceptions say, on a machine of one's own."""

    def __init__(self, *, whole: bool = False):
        super().__init__("{asctime} {levelname} [{request_id}] {name}: {message}", style="{")
        self.whole = whole

    def formatException(self, exc_info) -> str:
        return super().formatException(exc_info) if self.whole else told(exc_info[1])

    def of_request(self, facts: dict) -> str:
        level = logging.getLevelNamesMapping()[facts["level"]]
        record = logging.LogRecord(facts["logger"], level, __file__, 0, OF_A_REQUEST, (facts,), None)
        record.request_id = facts["request_id"]
        return self.format(record)


class JSONFormatter(TextFormatter):
    """Write lines for machines: an object each, a traceback with its line ends inside of it."""

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
        return self.of_request(line)

    def of_request(self, facts: dict) -> str:
        try:
            return orjson.dumps(facts, option=orjson.OPT_UTC_Z).decode()
        except orjson.JSONEncodeError:  # a lone surrogate, of a file's name
            return json.dumps(facts, default=str)


FORMATTERS = {"json": JSONFormatter, "text": TextFormatter}


class Console(logging.StreamHandler):
    def tell(self, facts: dict) -> None:
        """Write the line of a request, as `emit` writes that of a record. None is made: it costs more than the line."""
        line = self.formatter.of_request(facts)
        try:
            with self.lock:
                self.stream.write(line + self.terminator)
        except (OSError, ValueError):  # nobody reads the log any more; the answer goes out all the same
            pass


def tell(facts: dict) -> None:
    for console in consoles():
        console.tell(facts)


@cache
def consoles() -> list[Console]:
    return [handler for handler in logging.root.handlers if isinstance(handler, Console)]
