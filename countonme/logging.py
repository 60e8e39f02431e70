from logging import Filter

from countonme.request_id import request_id


class RequestIdFilter(Filter):
    """Put the id of the request that is being served on each log line, `-` outside of one."""

    def filter(self, record) -> bool:
        # Django says of some requests how they ended when they are over: it names them.
        record.request_id = getattr(getattr(record, "request", None), "id", None) or request_id.get()
        return True
