from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from devices.models import Attempts, Device
from support.models import AuditEntry
from support.tests.test_sign_in import PASSWORD, QuickHasher, sign_in

REASON = "Ticket 7: it sends 100 requests a second."


class TestBlockDevice:
    def test_refuses_the_requests_of_the_device(self, api, device, capsys):
        call_command("block_device", str(device.pk), reason=REASON)

        response = api.get("/v1/products")
        assert (response.status_code, response.json()["detail"]) == (403, "This device is blocked. Contact support.")
        assert capsys.readouterr().out == f"Blocked the device {device.pk}.\n"

    def test_is_undone_by_unblock_device(self, api, device, capsys):
        call_command("block_device", str(device.pk), reason=REASON)
        call_command("unblock_device", str(device.pk), reason="It was the wrong one.")

        assert api.get("/v1/products").status_code == 200
        assert capsys.readouterr().out.splitlines()[1] == f"Unblocked the device {device.pk}."

    @pytest.mark.parametrize(("command", "act"), [("block_device", "Blocked"), ("unblock_device", "Unblocked")])
    def test_is_in_the_audit_log_with_its_name(self, device, command, act):
        if command == "unblock_device":
            device.block()

        call_command(command, str(device.pk), reason=f"{REASON} Bearer {device.pk}.{'Ab3_' * 11}")

        entry = AuditEntry.objects.get()
        assert (entry.user, entry.user_name) == (None, f"manage.py {command}")
        assert (entry.kind, entry.object_id, entry.device_id) == ("devices.device", str(device.pk), device.pk)
        assert (entry.act, entry.reason) == (act, f"{REASON} [token]")

    @pytest.mark.parametrize(
        ("command", "blocked", "message"),
        [
            ("block_device", True, "The device is already blocked, or it is deleted."),
            ("unblock_device", False, "The device is not blocked, or it is deleted."),
        ],
    )
    def test_refuses_what_support_could_not_do(self, device, command, blocked, message):
        if blocked:
            device.block()

        with pytest.raises(CommandError, match=message):
            call_command(command, str(device.pk), reason=REASON)
        assert not AuditEntry.objects.exists()

    def test_does_not_know_other_devices_and_deleted_ones(self, device):
        Device.objects.filter(pk=device.pk).mark_for_erasure(timezone.now())

        for unknown in (device.pk, uuid4()):
            with pytest.raises(CommandError, match="There is no such device"):
                call_command("block_device", str(unknown), reason=REASON)

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
    def test_needs_a_reason(self, api, device, reason):
        with pytest.raises(CommandError, match="--reason: "):
            call_command("block_device", str(device.pk), reason=reason)
        assert api.get("/v1/products").status_code == 200

    @pytest.mark.parametrize("arguments", [[], ["5f0c1d8e2b9a4737", "--reason=x"], [str(uuid4())]])
    def test_needs_an_id_and_a_reason(self, db, arguments):
        with pytest.raises(CommandError):
            call_command("block_device", *arguments)


class TestUnlockSignIn:
    @pytest.fixture(autouse=True)
    def _three_an_hour(self, settings, db, clock):
        settings.LOGIN_FAILURE_RATE = "3/h"
        settings.PASSWORD_HASHERS = [f"{QuickHasher.__module__}.QuickHasher"]
        for name in ("ada", "bob"):
            User.objects.create_superuser(name, password=PASSWORD)

    def lock(self, **login) -> None:
        for _ in range(3):
            sign_in(**login)
        assert sign_in(**login).status_code == 429

    @pytest.mark.parametrize("spelling", ["ada", " ADA", "\uff21da"])
    def test_lets_a_name_log_in(self, capsys, spelling):
        self.lock(name="ada")
        self.lock(name="bob", address="192.0.2.2")

        call_command("unlock_sign_in", spelling)

        assert sign_in("ada", PASSWORD, "192.0.2.3").status_code == 302
        assert sign_in("bob", PASSWORD, "192.0.2.3").status_code == 429
        assert capsys.readouterr().out == f"{spelling} can log in again: the failed logins are removed.\n"

    def test_lets_a_name_log_in_in_a_known_browser(self):
        browsers = {name: Client() for name in ("ada", "bob")}
        for name, browser in browsers.items():
            assert sign_in(name, PASSWORD, browser=browser).status_code == 302
            browser.get("/admin/")
            browser.post("/admin/logout/")
            self.lock(name=name, browser=browser)

        call_command("unlock_sign_in", "ada")

        assert sign_in("ada", PASSWORD, browser=browsers["ada"]).status_code == 302
        assert sign_in("bob", PASSWORD, browser=browsers["bob"]).status_code == 429

    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
    def test_lets_an_address_log_in(self, address):
        for n in range(3):
            sign_in(f"user {n}", address=address)
        assert sign_in("ada", PASSWORD, address).status_code == 429

        call_command("unlock_sign_in", "--address", address)

        assert sign_in("ada", PASSWORD, address).status_code == 302
        assert Attempts.objects.count() == 3  # those of the names

    def test_says_that_there_is_nothing_to_lift(self, capsys):
        sign_in("bob")

        call_command("unlock_sign_in", "ada", "--address", "192.0.2.9")

        assert capsys.readouterr().out == "192.0.2.9 has no failed logins.\nada has no failed logins.\n"
        assert Attempts.objects.count() == 2

    @pytest.mark.parametrize("arguments", [[], ["--address", "ada"], ["ada", "--address", "192.0.2.0/24"]])
    def test_refuses_wrong_arguments(self, arguments):
        self.lock(name="ada")

        with pytest.raises(CommandError):
            call_command("unlock_sign_in", *arguments)
        assert sign_in("ada", PASSWORD, "192.0.2.3").status_code == 429
