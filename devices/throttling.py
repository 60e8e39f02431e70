import time

from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac
from rest_framework.throttling import SimpleRateThrottle

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
        Attempts.objects.forget(before=time.time())
        with transaction.atomic():
            attempts = Attempts.objects.locked(self.get_cache_key(request, view))
            self.now = time.time()
            self.history = [moment for moment in attempts.moments if moment > self.now - self.duration]
            if len(self.history) >= self.num_requests:
                return False
            self.history.insert(0, self.now)
            attempts.moments, attempts.expires_at = self.history, self.now + self.duration
            attempts.save()
        return True
