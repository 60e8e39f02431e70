"""Request ids (`X-Request-ID`), Content-Length, and the start and end of request logging."""

import os
import re

from countonme.observability import request_log
from countonme.observability.log_format import request_id

VALID_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")


class RequestIdMiddleware:
    """Sets each request's id, which is on its response and its log lines. A valid one from the client is kept.

    As the outermost middleware, it also sets `Content-Length`, because gunicorn would send chunks without it. At the
    end it counts and logs the request.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        started = request_log.start()
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        request.id = sent if VALID_ID.fullmatch(sent) else os.urandom(16).hex()
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
        request_log.finish(request, response, started)
        return response
