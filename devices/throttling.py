import time

from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac
from rest_framework.throttling import SimpleRateThrottle

from countonme.prepared import once_more
from devices.models import Attempts


class RegistrationThrottle(SimpleRateThrottle):
    """Limit the registrations from one address to `REGISTER_RATE`, in every worker together.

    DRF's own reads a list from the cache and writes it back: two requests at once count as one, and with a cache in
    each process every worker counts apart. Here the history is a row that is locked while it is judged.
    The address is kept as a keyed hash only, and for as long as it counts.
    """

    scope = "register"

    def get_rate(self) -> str:
        return settings.REGISTER_RATE

    def get_cache_key(self, request, view) -> str:
        return salted_hmac(
            "devices.throttling", f"{self.scope} {self.get_ident(request)}", algorithm="sha256"
        ).hexdigest()

    def allow_request(self, request, view) -> bool:
        if request.method != "POST":
            return True
        once_more(lambda: Attempts.objects.forget(before=time.time()))
        with transaction.atomic():
            attempts = Attempts.objects.locked(self.get_cache_key(request, view))
            self.now = time.time()
            recent = [moment for moment in attempts.moments if moment > self.now - self.duration]
            self.history = recent[: self.num_requests]  # the limit may have been higher
            if len(self.history) >= self.num_requests:
                return False
            self.history.insert(0, self.now)
            attempts.moments, attempts.expires_at = self.history, self.now + self.duration
            attempts.save()
        return True
