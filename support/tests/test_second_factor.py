import logging
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from devices.models import Attempts
from support.models import AuditEntry, Authenticator, RecoveryCode
from support.second_factor import MAX_WRONG_CODES
from support.tests.authenticators import (
    CODES,
    LOGIN,
    OWN,
    PASSWORD,
    SET_UP,
    App,
    Member,
    log_in,
    shown_codes,
    shown_secret,
    text,
)
from tests.harness.at_once import at_once, call, statuses

NOT_CODES = ["", "000000", "12345", "1234567", "12345a", "١٢٣٤٥٦", "-1", "+12345", "9" * 40, "x" * 41, "\x00", "\u2028"]
RESET = "Reset the second factor"


class QuickHasher(hashers.PBKDF2PasswordHasher):
    iterations = 1_000


@pytest.fixture(autouse=True)
def _quick(settings, db):
    settings.PASSWORD_HASHERS = [f"{__name__}.QuickHasher"]
    settings.STAFF_SECOND_FACTOR = "required"


@pytest.fixture
def ada(authenticator_clock) -> Member:
    return Member(authenticator_clock)


@pytest.fixture
def bob(authenticator_clock) -> Member:
    return Member(authenticator_clock, "bob")


@pytest.fixture
def newcomer(db) -> Client:
    """The browser of a member of staff who has logged in for the first time."""
    User.objects.create_superuser("ada", password=PASSWORD)
    browser = Client()
    log_in(browser=browser)
    return browser


def is_logged_in(browser) -> bool:
    return browser.get("/admin/").status_code == 200


def acts() -> list[str]:
    entries = AuditEntry.objects.filter(kind="auth.user").order_by("pk")
    return [f"{entry.user_name}: {entry.act}" for entry in entries]


def stored() -> str:
    """Return every value in the tables about staff."""
    tables = (User, AuditEntry, Authenticator, RecoveryCode, Attempts)
    sessions = [session.get_decoded() for session in Session.objects.all()]
    return str([*(list(model.objects.values()) for model in tables), sessions])


class TestSettingUp:
    def test_follows_the_first_login(self, newcomer):
        page = newcomer.get("/admin/", follow=True)

        assert page.redirect_chain == [("/admin/login/?next=/admin/", 302), (SET_UP, 302)]
        assert "Log out" in text(page)

    def test_counts_after_the_app_has_shown_a_code(self, newcomer, authenticator_clock):
        app = App(authenticator_clock, shown_secret(newcomer.get(SET_UP)))
        before = is_logged_in(newcomer)

        response = newcomer.post(SET_UP, {"new_code": app.code})

        assert (before, is_logged_in(newcomer)) == (False, True)
        assert len(set(shown_codes(response))) == 10
        assert log_in().status_code == 200
        assert log_in(code=app.next_code).status_code == 302
        assert acts() == ["ada: Set up a second factor", "ada: Entered a wrong code"]

    def test_shows_the_secret_as_text_as_a_link_and_as_an_image(self, newcomer):
        page = newcomer.get(SET_UP)

        (link,) = re.findall(r'href="(otpauth://[^"]+)"', text(page))
        assert unquote(urlsplit(link).path) == "/CountOnMe:ada"
        assert parse_qs(urlsplit(link).query) == {
            "secret": [shown_secret(page)],
            "algorithm": ["SHA1"],
            "digits": ["6"],
            "period": ["30"],
            "issuer": ["CountOnMe"],
        }
        assert len(shown_secret(page)) == 32
        assert '<svg viewBox="' in text(page)
        assert "style=" not in text(page)

    @pytest.mark.parametrize("code", NOT_CODES)
    def test_is_refused_with_a_wrong_code(self, newcomer, code):
        secret = shown_secret(newcomer.get(SET_UP))

        response = newcomer.post(SET_UP, {"new_code": code})

        assert response.status_code == 200
        assert '<ul class="errorlist"' in text(response)
        assert shown_secret(response) == secret
        assert not Authenticator.objects.exists()
        assert not RecoveryCode.objects.exists()
        assert not is_logged_in(newcomer)
        assert acts() == []

    def test_never_shows_the_secret_again(self, ada):
        pages = [text(ada.browser.get(page)) for page in ("/admin/", OWN, CODES, SET_UP)]
        again = text(ada.browser.post(SET_UP, {"new_code": ada.app.code}))

        assert ada.app.secret not in "".join(pages) + again
        assert not set(ada.codes) & set(shown_codes(ada.browser.get(SET_UP)))
        assert "10 recovery codes left" in pages[1]

    def test_uses_another_secret_in_each_session(self, newcomer):
        other = Client()
        log_in(browser=other)

        assert shown_secret(newcomer.get(SET_UP)) != shown_secret(other.get(SET_UP))

    def test_is_refused_in_a_session_that_began_before(self, newcomer, authenticator_clock):
        other = Client()
        log_in(browser=other)
        app, late = (App(authenticator_clock, shown_secret(each.get(SET_UP))) for each in (newcomer, other))
        newcomer.post(SET_UP, {"new_code": app.code})

        response = other.post(SET_UP, {"new_code": late.code})

        assert (response.status_code, response["Location"]) == (302, LOGIN)
        assert Authenticator.objects.count() == 1
        assert not is_logged_in(other)

    def test_changes_the_id_of_the_session(self, newcomer, authenticator_clock):
        app = App(authenticator_clock, shown_secret(newcomer.get(SET_UP)))
        before = newcomer.cookies["sessionid"].value

        newcomer.post(SET_UP, {"new_code": app.code})

        assert newcomer.cookies["sessionid"].value != before
        assert not Session.objects.filter(pk=before).exists()

    def test_needs_a_csrf_token(self, newcomer):
        newcomer.handler.enforce_csrf_checks = True

        assert newcomer.post(SET_UP, {"new_code": "123456"}).status_code == 403

    def test_is_not_for_others(self, db, client):
        client.force_login(User.objects.create_user("visitor"))

        assert Client().get(SET_UP)["Location"] == client.get(SET_UP)["Location"] == LOGIN

    def test_is_not_necessary_if_it_is_optional(self, settings, newcomer):
        settings.STAFF_SECOND_FACTOR = "optional"

        assert is_logged_in(newcomer)
        assert "You log in with your password only." in text(newcomer.get(OWN))
        assert newcomer.get(CODES)["Location"] == OWN


class TestLoggingIn:
    def test_needs_a_code_also_if_it_is_optional(self, settings, ada):
        settings.STAFF_SECOND_FACTOR = "optional"

        assert log_in().status_code == 200
        assert log_in(code=ada.app.next_code).status_code == 302

    def test_accepts_a_code_with_a_space(self, ada):
        code = ada.app.next_code

        assert log_in(code=f" {code[:3]} {code[3:]}").status_code == 302

    @pytest.mark.parametrize("code", NOT_CODES)
    def test_is_refused_with_a_wrong_code(self, ada, code):
        assert log_in(code=code).status_code == 200
        assert log_in("nobody", code=code).status_code == 200
        assert acts()[-1] == "ada: Entered a wrong code"

    def test_is_refused_with_a_used_code(self, ada):
        code = ada.app.next_code

        assert [log_in(code=code).status_code for _ in range(2)] == [302, 200]

    def test_is_refused_with_the_code_that_set_the_app_up(self, ada):
        assert log_in(code=ada.app.code).status_code == 200

    def test_is_refused_with_the_code_of_another_account(self, ada, bob):
        assert log_in("ada", bob.app.next_code).status_code == 200
        assert log_in("ada", bob.codes[0]).status_code == 200
        assert log_in("bob", bob.codes[0]).status_code == 302

    def test_uses_up_no_code_if_the_password_is_wrong(self, ada):
        code = ada.app.next_code
        log_in(code=code, password="wrong")
        log_in(code=ada.codes[0], password="wrong")

        assert log_in(code=code).status_code == 302
        assert log_in(code=ada.codes[0]).status_code == 302

    def test_accepts_each_recovery_code_once(self, ada):
        browser = Client()

        responses = [log_in(code=code, browser=browser) for code in (ada.codes[0], ada.codes[0], ada.codes[1].upper())]

        assert [response.status_code for response in responses] == [302, 200, 302]
        assert "You have 8 recovery codes left." in text(browser.get("/admin/"))
        assert acts()[1:] == ["ada: Used a recovery code", "ada: Entered a wrong code", "ada: Used a recovery code"]

    def test_gets_the_same_page_for_a_wrong_password_and_a_wrong_code(self, ada):
        User.objects.create_superuser("eve", password=PASSWORD)

        pages = {
            re.sub(r'value="[^"]*"', "", text(response))
            for response in (
                log_in("ada", code="123456", password="wrong"),
                log_in("ada", code="123456"),
                log_in("eve", code="123456", password="wrong"),
                log_in("nobody", code="123456"),
            )
        }

        assert len(pages) == 1
        assert "Please enter the correct username and password" in pages.pop()

    def test_counts_wrong_codes_and_is_locked(self, settings, clock, ada):
        settings.LOGIN_FAILURE_RATE = "3/h"

        responses = [log_in(code="123456", address=f"192.0.2.{n}").status_code for n in range(4)]

        assert responses == [200, 200, 200, 429]
        assert log_in(code=ada.app.next_code, address="192.0.2.9").status_code == 429

    def test_does_not_know_a_browser_without_a_code(self, ada):
        browser = Client()
        log_in(code="123456", browser=browser)

        assert "known" not in browser.cookies
        log_in(code=ada.app.next_code, browser=browser)
        assert "known" in browser.cookies

    def test_does_not_know_a_browser_again_after_a_failure(self, ada):
        known = ada.browser.cookies["known"].value

        log_in(code="123456", browser=ada.browser)

        assert ada.browser.cookies["known"].value == known

    def test_needs_a_recovery_code_after_many_wrong_codes(self, ada):
        Authenticator.objects.update(throttling_failure_count=MAX_WRONG_CODES - 1)
        before = log_in(code=ada.app.next_code).status_code
        Authenticator.objects.update(throttling_failure_count=MAX_WRONG_CODES - 1)
        log_in(code="123456")

        locked = log_in(code=ada.app.next_code).status_code
        recovered = log_in(code=ada.codes[0]).status_code

        assert (before, locked, recovered) == (302, 200, 302)
        assert log_in(code=ada.app.next_code).status_code == 302

    def test_of_a_locked_name_uses_up_no_code(self, settings, clock, ada):
        settings.LOGIN_FAILURE_RATE = "1/h"
        code = ada.app.next_code
        log_in(password="wrong")
        refused = log_in(code=code)
        Attempts.objects.all().delete()

        assert (refused.status_code, log_in(code=code).status_code) == (429, 302)


class TestASession:
    def test_ends_when_its_second_factor_is_replaced(self, ada):
        other = Client()
        log_in(code=ada.codes[0], browser=other)
        both = is_logged_in(ada.browser), is_logged_in(other)
        app = App(ada.app.clock, shown_secret(other.get(SET_UP)))

        response = other.post(SET_UP, {"new_code": app.code, "current_code": ada.codes[1]})

        assert both == (True, True)
        assert len(shown_codes(response)) == 10
        assert (is_logged_in(ada.browser), is_logged_in(other)) == (False, True)
        assert log_in(code=ada.app.next_code).status_code == log_in(code=ada.codes[2]).status_code == 200
        assert log_in(code=app.next_code).status_code == 302

    def test_can_log_out_without_a_second_factor(self, newcomer):
        assert newcomer.post("/admin/logout/").status_code == 200
        assert "_auth_user_id" not in newcomer.session

    def test_without_a_second_factor_is_refused_if_the_account_has_one(self, settings, ada):
        """It may have begun while a second factor was optional."""
        settings.STAFF_SECOND_FACTOR = "optional"
        old = Client()
        old.force_login(ada.user)

        for page in ("/admin/", OWN, CODES, SET_UP):
            assert old.get(page)["Location"].startswith(LOGIN)
        assert "Log in again." in text(old.get(LOGIN))


class TestReplacing:
    @pytest.mark.parametrize("code", ["", "000000", "used"])
    def test_needs_a_code_of_the_present_second_factor(self, ada, code):
        app = App(ada.app.clock, shown_secret(ada.browser.get(SET_UP)))
        sent = {"new_code": app.code, "current_code": ada.app.code if code == "used" else code}

        response = ada.browser.post(SET_UP, sent)

        assert (response.status_code, shown_codes(response)) == (200, [])
        assert log_in(code=ada.app.next_code).status_code == 302

    def test_uses_up_no_code_if_the_new_one_is_wrong(self, ada):
        app = App(ada.app.clock, shown_secret(ada.browser.get(SET_UP)))

        refused = ada.browser.post(SET_UP, {"new_code": "000000", "current_code": ada.codes[0]})
        accepted = ada.browser.post(SET_UP, {"new_code": app.code, "current_code": ada.codes[0]})

        assert (len(shown_codes(refused)), len(shown_codes(accepted))) == (0, 10)
        assert acts() == [
            "ada: Set up a second factor",
            "ada: Used a recovery code",
            "ada: Replaced the second factor",
        ]

    def test_counts_wrong_codes_and_is_locked(self, settings, clock, ada):
        settings.LOGIN_FAILURE_RATE = "3/h"
        app = App(ada.app.clock, shown_secret(ada.browser.get(SET_UP)))
        wrong = {"new_code": app.code, "current_code": "000000"}

        responses = [ada.browser.post(SET_UP, wrong) for _ in range(4)]
        right = ada.browser.post(SET_UP, {**wrong, "current_code": ada.codes[0]})

        assert [response.status_code for response in (*responses, right)] == [200, 200, 200, 429, 429]
        assert "Too many attempts. Try again in 60 minutes." in text(right)
        assert Authenticator.objects.get().throttling_failure_count == 3


class TestNewRecoveryCodes:
    def test_replace_the_old_ones(self, ada):
        response = ada.browser.post(CODES, {"current_code": ada.app.next_code})

        new = shown_codes(response)
        assert (len(new), set(new) & set(ada.codes)) == (10, set())
        assert log_in(code=ada.codes[0]).status_code == 200
        assert log_in(code=new[0]).status_code == 302
        assert "Made new recovery codes" in acts()[1]

    def test_are_not_made_again_if_the_page_is_reloaded(self, ada):
        sent = {"current_code": ada.app.next_code}
        new = shown_codes(ada.browser.post(CODES, sent))

        assert shown_codes(ada.browser.post(CODES, sent)) == []
        assert log_in(code=new[0]).status_code == 302

    @pytest.mark.parametrize("code", NOT_CODES)
    def test_need_a_code(self, ada, code):
        response = ada.browser.post(CODES, {"current_code": code})

        assert (response.status_code, shown_codes(response)) == (200, [])
        assert log_in(code=ada.codes[0]).status_code == 302

    def test_are_limited(self, settings, clock, ada):
        settings.LOGIN_FAILURE_RATE = "1/h"

        responses = [ada.browser.post(CODES, {"current_code": "000000"}) for _ in range(2)]

        assert [response.status_code for response in responses] == [200, 429]
        assert responses[1]["Retry-After"] == "3600"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestTwoRequestsAtOnce:
    @pytest.mark.parametrize("kind", ["code", "recovery code"])
    def test_can_not_use_the_same_code(self, ada, kind):
        for n in range(5):
            code = ada.app.next_code if kind == "code" else ada.codes[n]
            sent = {"username": "ada", "password": PASSWORD, "code": code}

            responses = at_once(*(call(Client(), "POST", LOGIN, sent) for _ in range(3)))

            assert statuses(responses) == {302: 1, 200: 2}

    def test_make_one_set_of_recovery_codes(self, ada):
        sent = {"current_code": ada.app.next_code}

        responses = at_once(*(call(ada.browser, "POST", CODES, sent) for _ in range(3)))

        assert sorted(len(shown_codes(response)) for response in responses) == [0, 0, 10]
        assert RecoveryCode.objects.count() == 10

    def test_set_up_one_second_factor(self, authenticator_clock):
        User.objects.create_superuser("ada", password=PASSWORD)
        browsers = [Client() for _ in range(3)]
        calls = []
        for browser in browsers:
            log_in(browser=browser)
            app = App(authenticator_clock, shown_secret(browser.get(SET_UP)))
            calls.append(call(browser, "POST", SET_UP, {"new_code": app.code}))

        responses = at_once(*calls)

        assert sorted(len(shown_codes(response)) for response in responses) == [0, 0, 10]
        assert Authenticator.objects.count() == 1
        assert RecoveryCode.objects.count() == 10

    def test_log_in_and_replace_without_a_deadlock(self, ada):
        for n in range(0, 6, 2):
            app = App(ada.app.clock, shown_secret(ada.browser.get(SET_UP)))
            replace = call(ada.browser, "POST", SET_UP, {"new_code": app.code, "current_code": ada.codes[n]})
            sent = {"username": "ada", "password": PASSWORD, "code": ada.codes[n + 1]}

            replaced, logged_in = at_once(replace, call(Client(), "POST", LOGIN, sent))

            assert len(shown_codes(replaced)) == 10
            assert logged_in.status_code in (200, 302)
            ada.codes, ada.app = shown_codes(replaced), app
            ada.browser.cookies = replaced.cookies


class TestReset:
    def address(self, member) -> str:
        return reverse("admin:auth_user_change", args=[member.user.pk]).replace("change", "reset-second-factor")

    def test_by_a_superuser_ends_the_sessions_and_is_audited(self, ada, bob):
        page = text(bob.browser.get(reverse("admin:auth_user_change", args=[ada.user.pk])))
        response = bob.browser.post(self.address(ada), {"reason": "She lost her phone."})

        assert f'href="{self.address(ada)}"' in page
        assert response.status_code == 302
        assert not Authenticator.objects.filter(user=ada.user).exists()
        assert not RecoveryCode.objects.filter(user=ada.user).exists()
        assert not is_logged_in(ada.browser)
        assert ada.browser.get(SET_UP)["Location"] == LOGIN
        assert is_logged_in(bob.browser)
        entry = AuditEntry.objects.latest("pk")
        assert (entry.user_name, entry.object_id, entry.act) == ("bob", str(ada.user.pk), RESET)
        assert entry.reason == "She lost her phone."
        assert log_in().status_code == 302

    def test_is_for_superusers_only(self, ada, bob):
        User.objects.filter(pk=bob.user.pk).update(is_superuser=False)

        assert bob.browser.get(self.address(ada)).status_code == 403
        assert bob.browser.post(self.address(ada), {"reason": "x"}).status_code == 403
        assert Authenticator.objects.count() == 2

    def test_of_the_own_account_is_refused(self, ada):
        response = ada.browser.post(self.address(ada), {"reason": "x"})

        assert "You can replace your own second factor on its page, with a code. Nothing was changed." in text(response)
        assert is_logged_in(ada.browser)

    def test_has_no_button_without_a_second_factor(self, ada):
        other = User.objects.create_superuser("eve")

        assert "reset-second-factor" not in text(ada.browser.get(f"/admin/auth/user/{other.pk}/change/"))
        assert ada.browser.get("/admin/auth/user/add/").status_code == 200

    def test_by_a_command(self, ada, bob, capsys):
        call_command("reset_second_factor", "ada")

        assert list(Authenticator.objects.values_list("user", flat=True)) == [bob.user.pk]
        assert (is_logged_in(ada.browser), is_logged_in(bob.browser)) == (False, True)
        assert acts()[2:] == [f"manage.py reset_second_factor: {RESET}"]
        assert "ada can log in with the password" in capsys.readouterr().out

    @pytest.mark.parametrize(("name", "message"), [("eve", "no such account"), ("grace", "grace has no second factor")])
    def test_by_a_command_needs_an_account_with_a_second_factor(self, ada, name, message):
        User.objects.create_user("grace", is_staff=True)

        with pytest.raises(CommandError, match=message):
            call_command("reset_second_factor", name)

        assert Authenticator.objects.exists()

    def test_is_shown_in_the_history_of_the_account(self, ada, bob):
        bob.browser.post(self.address(ada), {"reason": "She lost her phone."})

        history = text(bob.browser.get(f"/admin/auth/user/{ada.user.pk}/history/"))

        assert "Set up a second factor." in history
        assert f"{RESET}. She lost her phone." in history


class TestSecrets:
    def test_are_not_stored(self, ada):
        """Without SECRET_KEY, the database does not reveal the secret."""
        ada.browser.get(SET_UP)  # another secret that waits for its code

        everything = stored().lower()

        assert "authenticator_key" in everything
        assert Authenticator.objects.get().key.lower() in everything
        assert ada.app.secret.lower() not in everything
        assert Authenticator.objects.get().bin_key.hex() not in everything
        for code in ada.codes:
            assert code not in everything
            assert code.replace("-", "") not in everything

    def test_depend_on_the_secret_key(self, settings, ada):
        settings.SECRET_KEY = "another-one-" * 4

        assert log_in(code=ada.app.next_code).status_code == 200
        assert log_in(code=ada.codes[0]).status_code == 302

    def test_are_in_no_log(self, ada, caplog):
        caplog.set_level(logging.DEBUG)

        code, wrong = ada.app.next_code, "271828"
        log_in(code=code)
        log_in(code=wrong)
        log_in(code=ada.codes[0])
        ada.browser.post(CODES, {"current_code": wrong})

        lines = [record.getMessage() for record in caplog.records if record.name == "support.second_factor"]
        assert lines == [
            "Second factor of staff: Entered a wrong code",
            "Second factor of staff: Used a recovery code",
            "Second factor of staff: Entered a wrong code",
        ]
        kept = caplog.text + str(list(AuditEntry.objects.values()))
        assert not [each for each in (code, wrong, *ada.codes, ada.app.secret) if each in kept]

    def test_are_on_no_page_of_the_account(self, ada, bob):
        account = f"/admin/auth/user/{ada.user.pk}"
        pages = "".join(text(bob.browser.get(f"{account}/{page}/")) for page in ("change", "history", "delete"))
        pages += text(bob.browser.get("/admin/auth/user/")) + text(bob.browser.get("/admin/"))

        authenticator = Authenticator.objects.get(user=ada.user)
        digests = list(RecoveryCode.objects.values_list("digest", flat=True))
        assert not [each for each in (authenticator.key, ada.app.secret, *ada.codes, *digests) if each in pages]
        for model in ("otp_totp/totpdevice", "support/authenticator", "support/recoverycode"):
            assert bob.browser.get(f"/admin/{model}/").status_code == 404
