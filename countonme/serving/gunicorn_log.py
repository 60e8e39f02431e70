"""gunicorn's own log, in the form of the service's."""

import re
from logging import StreamHandler

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
    def setup(self, cfg) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.addFilter(ServerFilter())
            if isinstance(handler, StreamHandler):  # to syslog gunicorn writes in a form of its own
                handler.setFormatter(FORMATTERS[settings.LOG_FORMAT]())
