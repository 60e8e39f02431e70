import logging
import re
from html import unescape
from time import time
from uuid import uuid4

import bcrypt
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from devices.models import Device
from devices.tokens import TOKEN
from support.models import AuditEntry
from support.qr_code import qr_code
from support.shown_once import xor
from support.tests.entries import READS

ACTS = ("block", "unblock", "new-token")


def page(device, act: str = "change") -> str:
    return f"/admin/devices/device/{device.pk}/{act}/"


def act(support, device, name: str, reason: str = "The phone was stolen."):
    return support.post(page(device, name), {"reason": reason}, follow=True)


def text(response) -> str:
    return unescape(response.content.decode())


def token_on(response) -> str:
    (token,) = re.findall(r'<code class="secret" id="token">(\S+)</code>', text(response))
    return token


def log() -> list[tuple]:
    return [
        (entry.user_name, entry.object_id, f"{entry.act}. {entry.reason}")
        for entry in AuditEntry.objects.exclude(act__in=READS).order_by("pk")
    ]


class TestBlocking:
    def test_refuses_requests_until_the_device_is_unblocked(self, support, api, device):
        blocked = act(support, device, "block")
        statuses = [api.get("/v1/devices/me").status_code]
        act(support, device, "unblock", "It was found again.")
        statuses.append(api.get("/v1/devices/me").status_code)

        assert blocked.redirect_chain == [(page(device), 302)]
        assert "Blocked." in text(blocked)
        assert statuses == [403, 200]
        assert log() == [
            ("ada", str(device.pk), "Blocked. The phone was stolen."),
            ("ada", str(device.pk), "Unblocked. It was found again."),
        ]

    def test_has_a_button_if_it_is_possible(self, support, device):
        def offered() -> set:
            return set(re.findall(rf'<li><a href="{page(device, "([a-z-]+)")}">', text(support.get(page(device)))))

        assert offered() == {"block", "new-token"}
        device.block()
        assert offered() == {"unblock", "new-token"}

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "\x00"])
    @pytest.mark.parametrize("name", ACTS)
    def test_needs_a_reason(self, support, api, device, name, reason):
        response = act(support, device, name, reason)

        assert "Please correct the error below." in text(response)
        assert response.redirect_chain == []
        assert api.get("/v1/devices/me").status_code == 200
        assert log() == []

    @pytest.mark.parametrize("name", ACTS)
    def test_changes_nothing_on_get(self, support, api, device, name):
        response = support.get(page(device, name))

        assert response.status_code == 200
        assert '<textarea name="reason"' in text(response)
        assert api.get("/v1/devices/me").status_code == 200
        assert log() == []

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("block", "The device is already blocked, or it is deleted. Nothing was changed."),
            ("unblock", "The device is not blocked, or it is deleted. Nothing was changed."),
        ],
    )
    def test_shows_why_it_is_refused(self, support, device, name, said):
        if name == "block":
            device.block()

        response = act(support, device, name)

        assert response.status_code == 200
        assert said in text(response)
        assert "The phone was stolen." in text(response)  # the form keeps the input
        assert log() == []

    @pytest.mark.parametrize("name", ACTS)
    def test_redirects_to_the_index_if_there_is_no_such_device(self, support, db, name):
        for unknown in (uuid4(), "x"):
            response = support.post(f"/admin/devices/device/{unknown}/{name}/", {"reason": "x"})
            assert response.status_code == 302
            assert response["Location"] == "/admin/"

    @pytest.mark.parametrize("name", ACTS)
    def test_needs_a_permission(self, anonymous, device, name):
        viewer = Client()
        viewer.force_login(User.objects.create_user("eve", is_staff=True))

        assert viewer.post(page(device, name), {"reason": "x"}).status_code == 403
        assert anonymous.post(page(device, name), {"reason": "x"}).status_code == 302
        device.refresh_from_db()
        assert device.blocked_at is None
        assert log() == []

    @pytest.mark.parametrize("name", ACTS)
    def test_is_refused_with_the_view_permission_only(self, device, name):
        viewer = User.objects.create_user("eve", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_device"))
        browser = Client()
        browser.force_login(viewer)

        assert browser.get(page(device)).status_code == 200
        assert f'href="../{name}/"' not in text(browser.get(page(device)))
        assert browser.get(page(device, name)).status_code == 403
        assert browser.post(page(device, name), {"reason": "x"}).status_code == 403
        device.refresh_from_db()
        assert device.blocked_at is None

    def test_needs_a_csrf_token(self, support, device):
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(User.objects.get())

        assert forged.post(page(device, "block"), {"reason": "x"}).status_code == 403
        device.refresh_from_db()
        assert device.blocked_at is None

    def test_is_rolled_back_if_its_audit_entry_can_not_be_stored(self, support, device, monkeypatch):
        def fail(*args, **kwargs):
            raise RuntimeError("no log")

        monkeypatch.setattr(AuditEntry, "save", fail)

        with pytest.raises(RuntimeError):
            act(support, device, "block")

        device.refresh_from_db()
        assert device.blocked_at is None


class TestIssuingAToken:
    @pytest.fixture
    def shown(self, support, api, device) -> str:
        response = act(support, device, "new-token", "She reset her phone.")
        assert response.redirect_chain == [(page(device, "token"), 302)]
        assert "no-store" in response["Cache-Control"]
        return token_on(response)

    def test_shows_a_qr_code_of_it(self, support, device, monkeypatch):
        encoded = []
        monkeypatch.setattr("support.admin.qr_code", lambda token: encoded.append(token) or qr_code(token))

        response = act(support, device, "new-token")

        assert encoded == [token_on(response)]
        (svg,) = re.findall('<svg.*?class="qr-code".*?</svg>', response.text)
        assert not re.search(r"style|script|\bon\w+=|href", svg)

    def test_does_not_issue_another_if_the_page_is_reloaded(self, support, api, device, shown):
        again = support.get(page(device, "token"), follow=True)

        assert again.redirect_chain == [(page(device), 302)]
        assert "A new token is shown only once." in text(again)
        api.use(shown)
        assert api.get("/v1/devices/me").status_code == 200
        assert len(log()) == 1

    def test_can_not_be_read_from_the_session_alone(self, support, device):
        support.post(page(device, "new-token"), {"reason": "She reset her phone."})
        stored, pad = support.session["shown_once"], support.cookies["shown-once"]
        secret_hash = Device.objects.get().token_hash.encode()

        token = xor(bytes.fromhex(stored["half"]), bytes.fromhex(pad.value))

        assert bcrypt.checkpw(token.partition(b".")[2], secret_hash)  # so the test looks at the right values
        assert str(device.pk) not in str(bytes.fromhex(stored["half"])) + str(bytes.fromhex(pad.value))
        assert (pad["httponly"], pad["samesite"], pad["path"]) == (True, "Strict", page(device, "token"))
        assert pad["max-age"] == 120

    @pytest.mark.parametrize("why", ["late", "other browser", "other device", "other user"])
    def test_does_not_show_it(self, support, root, device, other_device, monkeypatch, why):
        support.post(page(device, "new-token"), {"reason": "She reset her phone."})
        client, shown_on = support, device
        if why == "late":
            monkeypatch.setattr("support.shown_once.time", lambda: time() + 121)
        elif why == "other browser":
            support.cookies["shown-once"] = "00"
        elif why == "other device":
            shown_on = other_device
        else:
            client = root
            client.cookies["shown-once"] = support.cookies["shown-once"].value

        response = client.get(page(shown_on, "token"))

        assert response.status_code == 302

    def test_needs_the_permission_to_be_shown(self, support, device):
        support.post(page(device, "new-token"), {"reason": "She reset her phone."})
        Group.objects.get().permissions.remove(Permission.objects.get(codename="issue_token"))

        assert support.get(page(device, "token")).status_code == 403

    def test_invalidates_the_old_token(self, api, device, shown):
        assert api.get("/v1/devices/me").status_code == 401
        api.use(shown)
        assert api.get("/v1/devices/me").status_code == 200
        assert log() == [("ada", str(device.pk), "Got a new token. She reset her phone.")]

    def test_shows_the_token_once_and_stores_it_nowhere(self, support, device, shown, caplog):
        caplog.set_level(logging.DEBUG)
        secret = shown.partition(".")[2]

        pages = [text(support.get(page(device, name))) for name in ("change", "history", *ACTS)]

        device.refresh_from_db()
        assert secret not in "".join(pages)
        assert not TOKEN.search("".join(pages))
        assert secret not in str(dict(support.session))
        assert secret not in str(support.cookies)
        assert secret not in str(AuditEntry.objects.values_list()) + str(Device.objects.values_list())
        assert device.next_token_hash is None

    def test_logs_no_secret(self, support, device, caplog):
        caplog.set_level(logging.DEBUG)

        shown = token_on(act(support, device, "new-token"))

        assert shown.partition(".")[2] not in caplog.text

    def test_says_that_the_token_of_a_blocked_device_is_refused(self, support, device):
        device.block()

        assert "The new token is refused too until you unblock the device." in text(act(support, device, "new-token"))

    def test_twice_leaves_only_the_second_token_valid(self, support, api, device, shown):
        again = token_on(act(support, device, "new-token"))

        api.use(shown)
        assert api.get("/v1/devices/me").status_code == 401
        api.use(again)
        assert api.get("/v1/devices/me").status_code == 200


class TestAReason:
    def test_is_kept_without_a_token_that_was_pasted_into_it(self, support, api, device):
        act(support, device, "block", f"He sent me {api.token}!")

        assert log() == [("ada", str(device.pk), "Blocked. He sent me [token]!")]

    def test_may_look_like_json(self, support, device):
        act(support, device, "block", '[{"changed": 1}]')

        assert log() == [("ada", str(device.pk), 'Blocked. [{"changed": 1}]')]
        assert support.get(page(device, "history")).status_code == 200
