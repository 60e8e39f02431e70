"""The pages on which a member of staff sets up a second factor, replaces it, and makes new recovery codes."""

from collections.abc import Callable
from functools import partial

from django.contrib import admin
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django_otp import login as verify_session
from django_otp.plugins.otp_totp.models import default_key

from support import second_factor as factor
from support.models import Authenticator
from support.qr_code import qr_code
from support.sign_in import CodeField, RateLimitedForm, say_when_to_retry

KEY = "authenticator_key"  # in the session, until a code has confirmed it
WRONG_CODE = "This code is wrong, or it was used before. Wait until the app shows the next one."
CURRENT_CODE = "From your authenticator app, or a recovery code. Each code works once."


class CodeForm(RateLimitedForm):
    """A form that calls a function with the user and with codes, which may raise WrongCode."""

    required_css_class = "required"

    def __init__(self, request, action: Callable):
        super().__init__(request.POST if request.method == "POST" else None)
        self.request, self.action, self.result = request, action, None

    def clean(self) -> None:
        if self.errors:
            return
        name = self.request.user.get_username()
        self.check_limits(name)
        try:
            self.result = self.action(self.request.user, **self.cleaned_data)
        except factor.WrongCode as error:
            if error.field != "new_code":
                self.count_failure(name)
            self.add_error(error.field if error.field in self.fields else None, WRONG_CODE)


class RecoveryCodesForm(CodeForm):
    current_code = CodeField(help_text=CURRENT_CODE, autofocus=True)


class SetUpForm(CodeForm):
    new_code = CodeField(autofocus=True, help_text="The 6 digits that the app shows now.")


class ReplaceForm(SetUpForm):
    current_code = CodeField("Code of your present second factor", help_text=CURRENT_CODE)


def second_factor(request) -> HttpResponse:
    """Show the user's own second factor."""
    authenticator = factor.authenticator_of(request.user)
    context = {"authenticator": authenticator, "codes_left": request.user.recovery_codes.count()}
    return render(request, "second_factor", "Second factor", **context)


@never_cache
def set_up(request) -> HttpResponse:
    """Set up the user's second factor, or replace it. The secret is shown until a code of the app confirms it."""
    if not factor.may_set_up(request.user):
        return redirect("admin:login")
    key = request.session.setdefault(KEY, default_key())
    has_one = factor.authenticator_of(request.user) is not None
    form = (ReplaceForm if has_one else SetUpForm)(request, partial(factor.set_up, key=key))
    if form.is_valid():
        authenticator, codes = form.result
        del request.session[KEY]
        request.session.cycle_key()
        verify_session(request, authenticator)
        return render(request, "recovery_codes", "Recovery codes", codes=codes)
    pending = Authenticator(user=request.user, key=key)
    title = "Replace the second factor" if has_one else "Set up a second factor"
    return render(request, "set_up", title, form=form, pending=pending, qr_code=qr_code(pending.config_url))


def recovery_codes(request) -> HttpResponse:
    """Make new recovery codes and show them once."""
    if factor.authenticator_of(request.user) is None:
        return redirect("admin:second_factor")
    form = RecoveryCodesForm(request, factor.replace_recovery_codes)
    if form.is_valid():
        return render(request, "recovery_codes", "Recovery codes", codes=form.result)
    return render(request, "code_form", "Make new recovery codes", form=form)


def render(request, template: str, title: str, **context) -> HttpResponse:
    context |= {**admin.site.each_context(request), "title": title}
    context["is_nav_sidebar_enabled"] &= context["has_permission"]
    return say_when_to_retry(request, TemplateResponse(request, f"support/{template}.html", context))
