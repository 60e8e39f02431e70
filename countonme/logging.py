from logging import Filter

from countonme.request_id import request_id


class RequestIdFilter(Filter):
    """Put the id of the request that is being served on each log line, `-` outside of one."""

    def filter(self, record) -> bool:
        record.request_id = request_id.get()
        return True
