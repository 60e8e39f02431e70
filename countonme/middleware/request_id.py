import os
import re

from countonme.observability import request_log
from countonme.observability.log_format import request_id

SANE = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")


class RequestIdMiddleware:
    """Give every request an id, which its response and its log lines carry; keep a sane one from the client.

    Outermost, so it also states the length of each body: without one gunicorn would send it in chunks. And when all is
    done, it has the request counted and logged.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        started = request_log.began()
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        request.id = sent if SANE.fullmatch(sent) else os.urandom(16).hex()
        token = request_id.set(request.id)
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request.id
        finally:
            request_id.reset(token)
        if not response.streaming and response.status_code not in (204, 304):
            response["Content-Length"] = len(response.content)
            if request.method == "HEAD":
                response.content = b""
        if response.streaming and request.method == "HEAD":
            response.streaming_content = ()
        request_log.ended(request, response, started)
        return response
