"""The second factor of staff: a code of an authenticator app, or a recovery code. Each code works once."""

import logging
import re

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction

from support.models import AuditEntry, Authenticator, RecoveryCode

log = logging.getLogger(__name__)

DIGITS = re.compile(r"[0-9]{6}")
RESET = "Reset the second factor"
MAX_WRONG_CODES = 100  # in a row. After that, only a recovery code works, so that nobody can try all codes.


class WrongCode(Exception):
    """A code is wrong, or was used before. `field` is the form field that has it."""

    def __init__(self, field: str):
        super().__init__(field)
        self.field = field


def authenticator_of(user) -> Authenticator | None:
    return Authenticator.objects.filter(user=user).first()


def is_verified(user) -> bool:
    """Return whether the user of a session has signed in with the second factor that the account has now."""
    return getattr(user, "otp_device", None) is not None  # the middleware sets it


def is_admitted(user) -> bool:
    """Return whether a member of staff may use the admin in this session."""
    return is_verified(user) or (settings.STAFF_SECOND_FACTOR == "optional" and authenticator_of(user) is None)


def may_set_up(user) -> bool:
    """Return whether a member of staff may set up a second factor in this session, or replace the one that it used."""
    return user.is_active and user.is_staff and (is_verified(user) or authenticator_of(user) is None)


def must_set_up(user) -> bool:
    return may_set_up(user) and not is_admitted(user)


def normalize(code: str) -> str:
    return re.sub(r"[\s-]", "", code).lower()


def is_recovery_code(code: str) -> bool:
    return not DIGITS.fullmatch(normalize(code))


def use_code(user, code: str) -> Authenticator | None:
    """Use up a code, and return the user's authenticator. Return None if the code is wrong or was used before.

    Of two requests with the same code, one waits for the lock of the other, and then its code is a used one.
    """
    code = normalize(code)
    with transaction.atomic():
        authenticator = Authenticator.objects.select_for_update().filter(user=user).first()
        if authenticator is None:
            return None
        if not is_recovery_code(code):
            if authenticator.throttling_failure_count < MAX_WRONG_CODES and authenticator.verify_token(code):
                return authenticator
        elif RecoveryCode.objects.use(user, code):
            authenticator.throttle_reset()
            record(user, "Used a recovery code")
            return authenticator
        record(user, "Entered a wrong code")
    return None


def set_up(user, key: str, new_code: str, current_code: str = "") -> tuple[Authenticator, list[str]]:
    """Give the user a new authenticator, which has shown `new_code`, and new recovery codes.

    If the user has an authenticator already, `current_code` must be valid. Raise WrongCode, and change nothing, if one
    of the codes is wrong.
    """
    new_code = normalize(new_code)
    with transaction.atomic():
        # Two requests must not give the user two. NO KEY: use_code() refers to the user while it holds another lock.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        old = authenticator_of(user)
        if old is None or use_code(user, current_code):
            if old is not None:
                old.delete()
            authenticator = Authenticator(user=user, key=key)
            if is_recovery_code(new_code) or not authenticator.verify_token(new_code):
                raise WrongCode("new_code")  # the current code can be used again
            record(user, "Replaced the second factor" if old else "Set up a second factor")
            return authenticator, RecoveryCode.objects.replace(user)
    raise WrongCode("current_code")


def replace_recovery_codes(user, current_code: str) -> list[str]:
    """Return new recovery codes. Raise WrongCode, and change nothing, if the code is wrong or was used before."""
    with transaction.atomic():
        if use_code(user, current_code):
            record(user, "Made new recovery codes")
            return RecoveryCode.objects.replace(user)
    raise WrongCode("current_code")


def reset(user) -> None:
    """Remove the user's second factor, and end the user's sessions: they could set up another one."""
    with transaction.atomic():
        Authenticator.objects.filter(user=user).delete()
        RecoveryCode.objects.filter(user=user).delete()
        for session in Session.objects.all():
            if session.get_decoded().get(SESSION_KEY) == str(user.pk):
                session.delete()
    log_event(RESET)


def record(user, act: str) -> None:
    """Record in both logs what a user did to the own account."""
    AuditEntry.objects.create(
        user=user, user_name=user.get_username(), kind=user._meta.label_lower, object_id=str(user.pk), act=act
    )
    log_event(act)


def log_event(act: str) -> None:
    """Write a line to the log. It names nobody: the audit log does."""
    log.warning("Second factor of staff: %s", act)
