import re

import pytest
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.test import Client

from devices.models import Attempts

PASSWORD = "a-long-passw0rd"


class QuickHasher(hashers.PBKDF2PasswordHasher):
    iterations = 1_000


@pytest.fixture(autouse=True)
def _three_an_hour(settings, db):
    settings.LOGIN_FAILURE_RATE = "3/h"
    settings.PASSWORD_HASHERS = [f"{__name__}.QuickHasher"]
    User.objects.create_superuser("ada", password=PASSWORD)


def sign_in(name="ada", password="wrong", address="192.0.2.1", browser=None):  # noqa: S107
    return (browser or Client()).post(
        "/admin/login/", {"username": name, "password": password, "next": "/admin/"}, REMOTE_ADDR=address
    )


def page_text(response) -> str:
    """Return the page without the user's input and without values that differ in each response."""
    page = response.content.decode()
    return re.sub(r'name="(csrfmiddlewaretoken|username)" (value="[^"]*")?|value="[^"]*"', "", page)


class TestLogin:
    def test_succeeds_with_the_right_password(self):
        browser = Client()

        response = sign_in(password=PASSWORD, browser=browser)

        assert (response.status_code, response["Location"]) == (302, "/admin/")
        assert browser.get("/admin/").status_code == 200
        assert not Attempts.objects.exists()

    @pytest.mark.parametrize("name", ["nobody", "ADA", "inactive", "visitor"])
    def test_fails_with_the_same_response_and_the_same_work_for_every_error(self, name, monkeypatch):
        User.objects.create_user("inactive", password=PASSWORD, is_active=False, is_staff=True)
        User.objects.create_user("visitor", password=PASSWORD)
        work, encode = [], hashers.PBKDF2PasswordHasher.encode

        def counted(self, password, salt, iterations=None):
            work.append(iterations or self.iterations)
            return encode(self, password, salt, 1)

        monkeypatch.setattr(hashers.PBKDF2PasswordHasher, "encode", counted)
        wrong_password = sign_in()
        wrong_name = sign_in(name, PASSWORD)

        assert wrong_name.status_code == wrong_password.status_code == 200
        assert page_text(wrong_name) == page_text(wrong_password)
        assert "Please enter the correct username and password" in page_text(wrong_name)
        assert len(work) == 2
        assert work[0] == work[1]

    @pytest.mark.parametrize("name", ["ada", "nobody"])
    def test_locks_a_name_for_all_addresses(self, name, clock):
        responses = [sign_in(name, address=f"192.0.2.{n}") for n in range(4)]

        assert [response.status_code for response in responses] == [200, 200, 200, 429]
        assert "Too many attempts. Try again in 60 minutes." in page_text(responses[-1])
        assert responses[-1]["Retry-After"] == "3600"
        assert sign_in(name, PASSWORD, "192.0.2.9").status_code == 429

    def test_shows_the_wait_in_minutes_rounded_up(self, clock):
        for _ in range(4):
            refused = sign_in()
        clock.now += int(refused["Retry-After"]) - 1

        response = sign_in()

        assert "Try again in 1 minute." in page_text(response)
        assert response["Retry-After"] == "1"

    def test_locks_an_address_for_all_names(self, clock):
        responses = [sign_in(f"user {n}") for n in range(4)]

        assert [response.status_code for response in responses] == [200, 200, 200, 429]
        assert sign_in(password=PASSWORD).status_code == 429
        assert sign_in(password=PASSWORD, address="192.0.2.2").status_code == 302

    def test_succeeds_after_the_wait(self, clock):
        for _ in range(4):
            refused = sign_in()
        clock.now += int(refused["Retry-After"])

        assert sign_in(password=PASSWORD).status_code == 302

    def test_checks_no_password_over_the_limit(self, clock, monkeypatch):
        for _ in range(3):
            sign_in()
        monkeypatch.setattr(hashers.PBKDF2PasswordHasher, "encode", None)

        assert sign_in().status_code == 429

    def test_counts_all_spellings_of_a_name_together(self, clock):
        for name in ("ada", "ADA", " ada ", "\uff21da"):
            response = sign_in(name, address=f"192.0.2.{len(name)}{ord(name[0]) % 100}")

        assert response.status_code == 429

    def test_counts_no_incomplete_form(self):
        for _ in range(4):
            assert sign_in(password="").status_code == 200
        assert not Attempts.objects.exists()

    def test_stores_neither_name_nor_address(self):
        sign_in()

        kept = str(list(Attempts.objects.values()))
        assert Attempts.objects.count() == 2
        assert "ada" not in kept
        assert "192.0.2" not in kept


class TestAKnownBrowser:
    @pytest.fixture
    def browser(self):
        browser = Client()
        sign_in(password=PASSWORD, browser=browser)
        browser.get("/admin/")
        browser.post("/admin/logout/")
        return browser

    def test_is_not_locked_out_by_failures_elsewhere(self, browser, clock):
        for n in range(5):
            sign_in(address=f"192.0.2.{n}")
        for n in range(5):
            sign_in(f"user {n}")

        assert sign_in(password=PASSWORD, address="192.0.2.7").status_code == 429
        assert sign_in(password=PASSWORD, browser=browser).status_code == 302

    def test_has_the_same_limit(self, browser, clock):
        responses = [sign_in(browser=browser, address=f"192.0.2.{n}").status_code for n in range(4)]

        assert responses == [200, 200, 200, 429]

    def test_is_known_for_one_name_only(self, browser, clock):
        User.objects.create_superuser("bob", password=PASSWORD)
        for n in range(3):
            sign_in("bob", address=f"192.0.2.{n}")

        assert sign_in("bob", PASSWORD, browser=browser).status_code == 429

    def test_needs_a_signed_cookie(self, clock):
        for n in range(3):
            sign_in(address=f"192.0.2.{n}")
        browser = Client()
        browser.cookies["known"] = "x ada:1:forged"

        assert sign_in(password=PASSWORD, address="192.0.2.9", browser=browser).status_code == 429

    def test_is_known_for_a_name_in_any_script(self, clock):
        User.objects.create_superuser("Іван", password=PASSWORD)
        browser = Client()
        response = sign_in("Іван", PASSWORD, browser=browser)
        browser.logout()
        browser.cookies = response.cookies
        for n in range(4):
            sign_in("Іван", address=f"192.0.2.{n}")

        assert response.cookies.output().isascii()  # another cookie can't be sent
        assert sign_in("Іван", PASSWORD, address="192.0.2.7").status_code == 429
        assert sign_in("Іван", PASSWORD, browser=browser).status_code == 302

    def test_has_a_cookie_with_the_attributes_of_the_session(self, browser):
        cookie = browser.cookies["known"]

        assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/admin/", True, "Lax")
