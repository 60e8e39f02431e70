"""gunicorn's own log, in the form of the service's."""

import re

from gunicorn.glogging import Logger

from countonme import settings
from countonme.observability.log_format import FORMATTERS, RequestIdFilter

REFUSED = re.compile(r"Invalid request from ip=(\S*): .*", re.S)
FAILED = "Error handling request"


class ServerFilter(RequestIdFilter):
    """Leave out the addresses and the lines that gunicorn quotes: what is searched for stands in them."""

    def filter(self, record) -> bool:
        if isinstance(record.msg, str):
            if record.msg.startswith(FAILED):
                record.msg, record.args = FAILED, ()
            record.msg = REFUSED.sub(r"A request from \1 that is not HTTP", record.msg)
        return super().filter(record)


class ServerLogger(Logger):
    def _set_handler(self, log, output, fmt, stream=None) -> None:
        super()._set_handler(log, output, FORMATTERS[settings.LOG_FORMAT](), stream)
        for handler in log.handlers:
            handler.addFilter(ServerFilter())
