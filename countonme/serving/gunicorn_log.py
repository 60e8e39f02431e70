"""gunicorn's log, in the same format as the service's."""

import re
from logging import StreamHandler

from gunicorn.glogging import Logger

from countonme import settings
from countonme.observability.log_format import FORMATTERS, RequestIdFilter

REFUSED = re.compile(r"Invalid request from ip=(\S*): .*", re.S)
FAILED = "Error handling request"


class ServerFilter(RequestIdFilter):
    """Removes the URLs and request lines that gunicorn quotes, because they contain search terms.

    It drops lines about clients that fell silent, as gunicorn does for those that disconnect.
    """

    def filter(self, record) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], BlockingIOError):  # of a socket whose timeout is over
            return False
        if isinstance(record.msg, str):
            if record.msg.startswith(FAILED):
                record.msg, record.args = FAILED, ()
            record.msg = REFUSED.sub(r"A request from \1 is not valid HTTP", record.msg)
        return super().filter(record)


class ServerLogger(Logger):
    def setup(self, cfg) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.addFilter(ServerFilter())
            if isinstance(handler, StreamHandler):  # gunicorn has its own format for syslog
                handler.setFormatter(FORMATTERS[settings.LOG_FORMAT]())
