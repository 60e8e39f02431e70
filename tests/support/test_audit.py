import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from devices.models import Device
from food_entries.models import FoodEntry
from food_entries.tests.factories import FoodEntryFactory
from products.models import Portion, Product
from products.tests.factories import ProductFactory
from support.audit import AuditedAdmin
from support.models import AuditEntry, ChangedValues

EXPLAIN = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
VALUES = "<li>([^<]+ → [^<]+)</li>"
FOOD = "Chicken soup"
WHY = "She asked for it."
PASSWORD = "correct horse battery staple"
USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"
COOKIES = {"sessionid", "csrftoken", "known", "shown-once"}


def page(row, act: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk]).replace("change", act)


def post(client, address: str, **sent):
    """Send a form and check that it succeeds."""
    response = client.post(address, sent)
    assert response.status_code == 302, response.content.decode()
    return response


def acts() -> list[tuple]:
    return list(AuditEntry.objects.order_by("pk").values_list("user_name", "kind", "act", "reason"))


def user_form(user, **changed) -> dict:
    return {"username": user.username, "is_active": "on", "is_staff": "on", **changed}


@pytest.fixture
def product(device):
    return ProductFactory(device=device, name=FOOD, kcal_100g=321, protein_100g=None, carbs_100g=None, fat_100g=None)


@pytest.fixture
def member(db) -> User:
    return User.objects.create_user("grace", is_staff=True, date_joined=datetime(2026, 1, 5, 7, 30, tzinfo=UTC))


def run_all_actions(client, device, product) -> None:
    """Run each action and correction that support can do."""
    for act in ("block", "unblock"):
        post(client, page(device, act), reason=WHY)
    assert client.post(page(device, "new-token"), {"reason": WHY}, follow=True).status_code == 200
    entry = FoodEntryFactory(product=product, grams=Decimal(123))
    portion = product.portions.get()
    for row, form in (
        (product, {"name": f"{FOOD} with noodles", "kcal_100g": 322, "unit": "g"}),
        (portion, {"name": f"{FOOD}, a bowl", "grams": 234}),
        (entry, {"date": "2026-01-06", "meal_type": "dinner", "grams": 345}),
    ):
        row.refresh_from_db()
        post(client, page(row), **form, seen=row.revision, reason=WHY)
    for row in (entry, product):
        for act in ("soft-delete", "restore"):
            row = type(row).all_objects.get(pk=row.pk)
            post(client, page(row, act), seen=row.revision, reason=WHY)


class TestEveryAct:
    def test_of_support_is_an_entry_without_a_value(self, support, device, product):
        run_all_actions(support, device, product)

        changes = [entry for entry in acts() if entry[2] not in ("Opened", "Listed")]
        assert changes == [
            ("ada", "devices.device", "Blocked", WHY),
            ("ada", "devices.device", "Unblocked", WHY),
            ("ada", "devices.device", "Got a new token", WHY),
            ("ada", "products.product", "Corrected name, energy", WHY),
            ("ada", "products.portion", "Corrected name, grams", WHY),
            ("ada", "food_entries.foodentry", "Corrected date, meal, grams", WHY),
            ("ada", "food_entries.foodentry", "Deleted", WHY),
            ("ada", "food_entries.foodentry", "Restored", WHY),
            ("ada", "products.product", "Deleted", WHY),
            ("ada", "products.product", "Restored", WHY),
        ]
        assert set(AuditEntry.objects.values_list("device", flat=True)) == {device.pk}
        stored = str([entry[1:] for entry in acts()])
        for value in (FOOD, "noodles", "bowl", "321", "322", "123", "234", "345", "2026-01-06", "dinner"):
            assert value not in stored
        assert not LogEntry.objects.exists()

    def test_on_users_and_groups_is_an_entry_with_the_names_of_fields(self, root, member):
        post(root, f"{USERS}add/", username="joan", usable_password="true", password1=PASSWORD, password2=PASSWORD)
        post(root, page(member), **user_form(member, first_name="Grace", is_superuser="on"))
        post(root, f"{USERS}{member.pk}/password/", usable_password="true", password1=PASSWORD, password2=PASSWORD)
        post(root, f"{GROUPS}add/", name="Night shift")
        group = Group.objects.get(name="Night shift")
        post(root, page(group), name="Day shift")
        post(root, page(group, "delete"), post="yes")
        post(root, page(member, "delete"), post="yes")
        selected = {"action": "delete_selected", "_selected_action": User.objects.get(username="joan").pk}
        post(root, USERS, **selected, post="yes")

        assert acts() == [
            ("root", "auth.user", "Added", ""),
            ("root", "auth.user", "Changed first name, superuser status", ""),
            ("root", "auth.user", "Changed password", ""),
            ("root", "auth.group", "Added", ""),
            ("root", "auth.group", "Changed name", ""),
            ("root", "auth.group", "Deleted", ""),
            ("root", "auth.user", "Deleted", ""),
            ("root", "auth.user", "Deleted", ""),
        ]
        assert AuditEntry.objects.filter(device=None, kind="auth.user", object_id=str(member.pk)).count() == 3
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("how", ["password", "delete_selected"])
    def test_on_a_user_is_rolled_back_if_its_entry_can_not_be_stored(self, root, member, monkeypatch, how):
        def fail(*args, **kwargs):
            raise RuntimeError("no log")

        monkeypatch.setattr(AuditEntry, "save", fail)
        monkeypatch.setattr("support.audit.AuditedAdmin.log_deletions", lambda *args: None)
        monkeypatch.setattr("support.admin.AuditedUserAdmin.message_user", fail)
        before = list(User.objects.filter(pk=member.pk).values())

        with pytest.raises(RuntimeError):
            if how == "password":
                sent = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
                root.post(f"{USERS}{member.pk}/password/", sent)
            else:
                root.post(USERS, {"action": how, "_selected_action": member.pk, "post": "yes"})

        assert list(User.objects.filter(pk=member.pk).values()) == before

    def test_has_an_admin_that_writes_the_audit_log(self):
        admins = admin.site._registry.values()

        assert len(admins) >= 7
        assert [each for each in admins if not isinstance(each, AuditedAdmin)] == []

    def test_sets_no_other_cookie_and_stores_no_food_in_the_session(self, support, device, product):
        run_all_actions(support, device, product)

        assert set(support.cookies) <= COOKIES
        assert not [value for value in (FOOD, "noodles", "bowl") if value in str(dict(support.session))]


class TestAUser:
    def test_has_times_with_their_zone(self, root, member):
        User.objects.filter(pk=member.pk).update(last_login=datetime(2026, 2, 5, 8, 30, tzinfo=UTC))

        listed, shown = root.get(USERS).text, root.get(page(member)).text

        assert "2026-02-05 08:30 UTC" in listed
        assert "2026-02-05 08:30 UTC" in shown
        assert "2026-01-05 07:30 UTC" in shown


class TestTheHistory:
    def test_shows_old_and_new_values(self, support, product):
        sent = {"name": "Soup", "kcal_100g": 300, "barcode": "4006381333931", "unit": "g"}
        post(support, page(product), **sent, seen=product.revision, reason=WHY)

        shown = support.get(page(product, "history")).text

        values = [f"Name: {FOOD} → Soup", "Energy: 321 → 300", "Barcode: (empty) → 4006381333931"]
        assert re.findall(VALUES, shown) == values

    def test_shows_values_that_follow_from_a_correction(self, support, product):
        portion = product.portions.get()
        entry = FoodEntryFactory(product=product, portion=portion, quantity=Decimal(2), grams=Decimal(200))
        sent = {"date": "2026-01-05", "meal_type": "snack", "grams": "50", "quantity": "2"}
        post(support, page(entry), **sent, seen=entry.revision, reason=WHY)

        shown = support.get(page(entry, "history")).text

        assert {"Grams: 200 → 50", "Quantity: 2 → (empty)", "Portion: 100g → (empty)"} <= set(re.findall(VALUES, shown))

    def test_shows_changes_of_accounts_without_passwords(self, root, member, support_group):
        post(root, page(member), **user_form(member, first_name="Grace", is_superuser="on", groups=[support_group.pk]))
        new = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
        post(root, f"{USERS}{member.pk}/password/", **new)

        shown = root.get(page(member, "history")).text

        values = ["First name: (empty) → Grace", "Superuser status: no → yes", "Groups: (empty) → Support"]
        assert sorted(re.findall(VALUES, shown)) == sorted(values)
        assert ChangedValues.objects.count() == 1

    def test_escapes_values(self, support, product):
        sent = {"name": "<b>Soup", "kcal_100g": 321, "unit": "g", "seen": product.revision, "reason": WHY}
        post(support, page(product), **sent)

        assert "<b>Soup" not in support.get(page(product, "history")).text

    def test_costs_the_same_queries_for_any_number_of_entries(self, root, member, django_assert_max_num_queries):
        for names in (("Ada",), ("Grace", "Joan", "Ada")):
            for name in names:
                post(root, page(member), **user_form(member, first_name=name))
            root.get(page(member, "history"))  # shows the messages of the changes
            # the session, the user, the second factor twice, the row twice, the entries and their number; of Django's
            # log the kind, a number
            with django_assert_max_num_queries(10):
                assert root.get(page(member, "history")).status_code == 200

    def test_shows_user_action_and_reason(self, support, product):
        post(support, page(product), name="Soup", kcal_100g=321, unit="g", seen=product.revision, reason=WHY)

        shown = support.get(page(product, "history")).content.decode()

        assert "<td>ada</td>" in shown
        assert "<td>Corrected name. She asked for it." in shown
        assert "History: Soup" in shown

    @pytest.mark.parametrize("how", ["admin", "orm"])
    def test_keeps_the_name_of_a_user_who_was_deleted(self, support, root, device, how):
        post(support, page(device, "block"), reason=WHY)
        member = User.objects.get(username="ada")
        if how == "admin":
            post(root, page(member, "delete"), post="yes")
        else:
            member.delete()

        shown = root.get(page(device, "history")).content.decode()

        assert not User.objects.filter(username="ada").exists()
        entry = AuditEntry.objects.get(act="Blocked")
        assert (entry.user, entry.user_name, entry.reason) == (None, "ada", WHY)
        assert "<td>ada</td>" in shown

    def test_has_a_text_if_it_is_empty(self, root, member):
        assert "No member of staff has opened or changed this." in root.get(page(member, "history")).content.decode()

    def test_has_pages(self, root, member, monkeypatch):
        monkeypatch.setattr("support.audit.ENTRIES_PER_PAGE", 2)
        for name in ("Grace", "Ada", "Joan"):
            post(root, page(member), **user_form(member, first_name=name))

        first, second = (root.get(page(member, "history"), {"p": number}).content.decode() for number in (1, 2))

        assert (first.count("Changed first name"), second.count("Changed first name")) == (2, 1)
        assert '<a href="?p=2"' in first
        assert "3 entries" in first

    def test_can_be_limited_to_changes(self, support, product):
        for _ in range(2):
            support.get(page(product))
        before = support.get(page(product, "history"), {"changes": 1}).text
        post(support, page(product, "soft-delete"), seen=product.revision, reason=WHY)

        shown = support.get(page(product, "history"), {"changes": 1}).text

        assert "No member of staff has changed this." in before
        assert "<td>Deleted. She asked for it." in shown
        assert "<td>Opened." not in shown
        assert "<td>Opened." in support.get(page(product, "history")).text

    def test_does_not_say_whether_a_row_exists_to_those_who_may_not_see_it(self, product, client):
        client.force_login(User.objects.create_user("eve", is_staff=True))

        statuses = [
            client.get(page(product, "history").replace(str(product.pk), each)).status_code
            for each in ("x", str(product.pk))
        ]

        assert statuses == [403, 403]


class TestOldAndNewValues:
    @pytest.fixture
    def corrected(self, support, product) -> ChangedValues:
        post(support, page(product), name="Soup", kcal_100g=321, unit="g", seen=product.revision, reason=WHY)
        return ChangedValues.objects.get()

    @pytest.mark.parametrize(("days", "kept"), [(89, True), (91, False)])
    def test_are_removed_after_90_days(self, corrected, days, kept):
        ChangedValues.objects.update(at=timezone.now() - timedelta(days=days))

        call_command("erase", stdout=StringIO())

        assert ChangedValues.objects.exists() == kept
        assert AuditEntry.objects.filter(act="Corrected name").exists()

    def test_are_deleted_with_the_device(self, corrected, device):
        FoodEntry.all_objects.for_device(device)._raw_delete("default")
        Portion.all_objects.for_device(device)._raw_delete("default")
        Product.all_objects.for_device(device)._raw_delete("default")

        device.delete()

        assert not ChangedValues.objects.exists()

    def test_are_not_in_the_log_of_all_staff(self, root, corrected):
        pages = [root.get(address).text for address in (TestTheAuditLog.LOG, page(corrected.entry))]

        assert [(FOOD in shown, "Soup" in shown) for shown in pages] == [(False, False)] * 2


class TestTheIndex:
    def test_names_no_row(self, support, device, product):
        run_all_actions(support, device, product)

        shown = support.get("/admin/").content.decode()

        assert "Recent actions" not in shown
        assert FOOD not in shown


class TestTheAuditLog:
    LOG = "/admin/support/auditentry/"

    def test_is_listed_for_superusers_newest_first(self, support, root, device, product):
        run_all_actions(support, device, product)

        shown = root.get(self.LOG).content.decode()

        assert shown.index("Restored") < shown.index("Corrected name, grams") < shown.index(">Blocked<")
        assert FOOD not in shown

    def test_is_found_by_the_id_of_a_row_or_a_device(self, support, root, device, other_device, product, member):
        post(support, page(product), name="Soup", kcal_100g=321, unit="g", seen=product.revision, reason=WHY)
        post(support, page(device, "block"), reason=WHY)
        post(support, page(other_device, "block"), reason=WHY)
        post(root, page(member), **user_form(member, first_name="Grace"))

        def found(term) -> list[str]:
            entries = root.get(self.LOG, {"q": term}).context_data["cl"].queryset
            return [entry.act for entry in entries if entry.act not in ("Opened", "Listed")]

        assert found(str(product.pk)) == ["Corrected name"]
        assert found(str(product.pk).upper()) == ["Corrected name"]
        assert found(str(device.pk)) == ["Blocked", "Corrected name"]
        assert found(device.pk.hex[:12]) == ["Blocked", "Corrected name"]
        assert found(member.pk) == ["Changed first name"]
        assert found("ada") == ["Blocked", "Blocked", "Corrected name"]
        assert found("root") == ["Changed first name"]
        assert found("Blocked") == found("%") == found("She asked") == []

    def test_is_read_with_indexes(self, root, member, device, django_assert_max_num_queries):
        entries = [
            AuditEntry(user_name=f"user {n // 5}", kind="auth.user", object_id=str(n), act="Added") for n in range(5000)
        ]
        AuditEntry.objects.bulk_create(entries)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE audit_log")

        for term in ("user 7", "17", device.pk.hex[:8]):
            with django_assert_max_num_queries(12) as queries:
                assert root.get(self.LOG, {"q": term}).status_code == 200
            for query in queries.captured_queries:
                if 'FROM "audit_log"' in query["sql"]:
                    plan = connection.cursor().execute(f"{EXPLAIN} {query['sql']}").fetchall()
                    assert not re.search(r"Seq Scan on audit_log|SCAN audit_log", str(plan)), query["sql"]

    def test_links_to_histories_and_lists(self, support, root, device, product):
        support.get("/admin/products/product/", {"device__id__exact": device.pk})
        support.get(page(product))

        shown = root.get(self.LOG).text

        assert f'<a href="{page(product, "history")}">product {str(product.pk)[:8]}</a>' in shown
        of_device = f"/admin/products/product/?device__id__exact={device.pk}"
        assert f'<a href="{of_device}">products of device {str(device.pk)[:8]}</a>' in shown

    def test_can_not_be_changed(self, support, root, device):
        post(support, page(device, "block"), reason=WHY)
        entry = AuditEntry.objects.get(act="Blocked")

        shown = root.get(page(entry))
        statuses = [
            root.post(page(entry), {"act": "Unblocked"}).status_code,
            root.post(page(entry, "delete"), {"post": "yes"}).status_code,
            root.get(f"{self.LOG}add/").status_code,
            root.post(self.LOG, {"action": "delete_selected", "_selected_action": entry.pk, "post": "yes"}).status_code,
        ]

        assert (shown.status_code, WHY in shown.content.decode()) == (200, True)
        assert "History" not in shown.content.decode()
        assert statuses == [403, 403, 403, 200]
        assert AuditEntry.objects.get(pk=entry.pk).act == "Blocked"

    def test_is_not_for_support(self, support, device):
        post(support, page(device, "block"), reason=WHY)

        addresses = [self.LOG, page(AuditEntry.objects.latest("pk")), "/admin/support/"]
        assert [support.get(address).status_code for address in addresses] == [403, 403, 404]

    def test_hides_a_device_that_is_marked_for_erasure(self, support, root, device):
        support.get(f"/admin/devices/device/{device.pk}/change/")
        entry = AuditEntry.objects.get()
        pages = ["/admin/support/auditentry/", f"/admin/support/auditentry/{entry.pk}/change/"]
        assert all(str(device.pk) in root.get(page).content.decode() for page in pages)

        Device.objects.filter(pk=device.pk).update(deleted_at=timezone.now())

        assert not any(str(device.pk) in root.get(page, follow=True).content.decode() for page in pages)

    def test_is_deleted_with_its_device(self, support, device):
        post(support, page(device, "block"), reason=WHY)

        device.delete()

        assert not AuditEntry.objects.exists()
