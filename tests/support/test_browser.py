"""The work of support in a real browser, and its effect on the phone."""

import re
import shutil

import pytest
from django.contrib.auth.models import User
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from catalog.tests import import_foods, make_food
from devices.models import Device
from food_entries.chart import latest_day
from food_entries.tests.factories import FoodEntryFactory
from ownership.models import change_set
from products.tests.factories import PortionFactory, ProductFactory
from support.tests import entries
from support.tests.authenticators import App
from tests.harness.sync import pull_changes

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)
PASSWORD = "a-password-of-hers"

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


class Browser:
    """Chromium on the pages of a live server."""

    def __init__(self, driver: webdriver.Chrome, address: str):
        self.driver, self.address = driver, address

    def open(self, path: str) -> None:
        self.driver.get(self.address + path)

    def find(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def fill(self, **fields) -> None:
        for name, text in fields.items():
            field = self.find(f"[name={name}]")
            field.clear()
            field.send_keys(text)

    def click(self, selector: str) -> None:
        """Click a link or button and wait for the next page."""
        self.driver.execute_script("window.isThePageBefore = true")
        self.find(selector).click()
        self.wait()

    def wait(self) -> None:
        # Between the pages, the driver raises errors.
        WebDriverWait(self.driver, 10, ignored_exceptions=[WebDriverException]).until(
            lambda d: d.execute_script("return !window.isThePageBefore && document.readyState === 'complete'")
        )

    def do(self, act: str, why: str) -> None:
        """Run an action on the row whose page is open."""
        self.click(f".object-tools a[href*='/{act}/']")
        self.fill(reason=why)
        self.click(".submit-row [type=submit]")

    @property
    def said(self) -> str:
        return self.find("#container").text

    def browser_errors(self) -> list[str]:
        """Return the browser's error log, such as a blocked script or a missing icon."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def browser(live_server, tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'chromium'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield Browser(driver, live_server.url)
    driver.quit()


@pytest.fixture
def logged_in(browser, support) -> Browser:
    member = User.objects.get()
    member.set_password(PASSWORD)
    member.save()
    browser.open("/admin/")
    browser.fill(username=member.username, password=PASSWORD)
    browser.click("[type=submit]")
    return browser


@pytest.fixture
def bread(device):
    product = ProductFactory(device=device, name="Rye bread")
    PortionFactory(product=product, name="Slice")
    return product


class TestSupport:
    def test_finds_a_device_and_restores_a_row(self, logged_in, api, device, bread):
        with change_set(device):
            bread.soft_delete()
        cursor = pull_changes(api)["timestamp"]

        logged_in.click("a[href='/admin/devices/device/']")
        logged_in.fill(q=device.pk.hex[:10])
        logged_in.click("#changelist-search [type=submit]")
        logged_in.click("#result_list a")
        assert "Products: 0 live, 1 deleted" in logged_in.said
        logged_in.click(".field-rows a[href*='/product/']")
        assert "Rye bread" in logged_in.said
        logged_in.click("#result_list a")
        logged_in.do("restore", "Deleted by mistake.")

        assert "Restored." in logged_in.said
        changes = pull_changes(api, cursor)["changes"]
        assert [row["name"] for row in changes["products"]["updated"]] == ["Rye bread"]
        assert {row["name"] for row in changes["portions"]["updated"]} == {"100g", "Slice"}
        assert entries.recorded_changes() == ["Restored. Deleted by mistake."]
        assert logged_in.browser_errors() == []

    def test_restores_several_rows(self, logged_in, api, device, bread):
        oats = ProductFactory(device=device, name="Oats")
        for product in (bread, oats):
            with change_set(device):
                product.soft_delete()
        cursor = pull_changes(api)["timestamp"]

        logged_in.open(f"/admin/products/product/?device__id__exact={device.pk}&state=deleted")
        logged_in.find("#action-toggle").click()
        logged_in.find("[name=action] [value=restore_selected]").click()
        logged_in.click("button[name=index]")
        logged_in.fill(reason="Deleted by mistake.")
        logged_in.click(".submit-row [type=submit]")

        assert "2 rows restored." in logged_in.said
        assert logged_in.find(".of-device a").text == str(device.pk)
        assert len(pull_changes(api, cursor)["changes"]["products"]["updated"]) == 2
        assert logged_in.browser_errors() == []

    def test_blocks_and_unblocks_a_phone_and_gives_it_a_new_token(self, logged_in, api, device):
        logged_in.open(f"/admin/devices/device/{device.pk}/change/")
        logged_in.do("block", "Stolen.")
        statuses = [api.get("/v1/products").status_code]
        logged_in.do("new-token", "Found, but without its token.")
        token = logged_in.find("#token").text
        logged_in.find("#copy").click()
        WebDriverWait(logged_in.driver, 10).until(lambda _: logged_in.find("#copied").text == "Copied.")
        size = logged_in.find(".qr-code").size
        logged_in.click("#content-main a")
        logged_in.driver.back()  # the token is neither in a cache nor issued again
        WebDriverWait(logged_in.driver, 10).until(lambda _: "A new token is shown only once." in logged_in.said)
        logged_in.do("unblock", "Found.")
        statuses.append(api.get("/v1/products").status_code)
        api.use(token)
        statuses.append(api.get("/v1/products").status_code)

        assert statuses == [403, 401, 200]
        assert size == {"height": 240, "width": 240}
        logged_in.click(".historylink")
        assert [why in logged_in.said for why in ("Stolen.", "Found, but without", "Unblocked. Found.")] == [True] * 3
        assert logged_in.browser_errors() == []

    def test_corrects_a_name_after_the_phone_changed_it(self, logged_in, api, bread):
        logged_in.open(f"/admin/products/product/{bread.pk}/change/")
        logged_in.fill(name="Wry bread", reason="Her idea.")
        api.patch(f"/v1/products/{bread.pk}", {"name": "Dark bread"})
        logged_in.click("[name=_continue]")
        assert "Nothing was saved." in logged_in.said
        assert api.get(f"/v1/products/{bread.pk}").json()["name"] == "Dark bread"

        logged_in.fill(name="Wry bread", reason="She insists.")
        logged_in.click("[name=_continue]")

        assert api.get(f"/v1/products/{bread.pk}").json()["name"] == "Wry bread"
        assert logged_in.browser_errors() == []

    def test_reads_lists_on_a_phone(self, logged_in, device, bread):
        phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        logged_in.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)

        for address, names in (
            ("devices/device/", ["ID", "LAST SEEN AT", "BLOCKED AT"]),
            (
                f"products/product/?device__id__exact={device.pk}",
                ["NAME", "BRAND", "KCAL PER 100 G", "BARCODE", "LAST CHANGE", "DELETED AT"],
            ),
        ):
            logged_in.open(f"/admin/{address}")
            cells = logged_in.driver.find_elements(By.CSS_SELECTOR, "#result_list tbody tr:first-child [data-column]")
            assert [cell.get_attribute("data-column").upper() for cell in cells] == names
            assert all(cell.rect["x"] + cell.rect["width"] <= 390 for cell in cells)

    def test_sees_a_chart_of_the_last_days(self, logged_in, device, bread):
        today = latest_day(Device.objects.get().last_seen_at)
        FoodEntryFactory(product=bread, date=today)

        logged_in.open(f"/admin/devices/device/{device.pk}/change/")

        bars = logged_in.driver.find_elements(By.CSS_SELECTOR, ".kcal .bar")
        assert [bar.rect["height"] > 50 for bar in bars] == [False] * 29 + [True]
        assert (
            bars[-1].value_of_css_property("fill") == "rgb(65, 118, 144)"
        )  # the admin's colour: the style sheet was loaded
        assert not re.search(r"\bon\w+=|style=|<script>", logged_in.find(".field-charts").get_attribute("innerHTML"))
        assert logged_in.browser_errors() == []


class TestTheSecondFactor:
    @pytest.mark.parametrize("width", [1280, 390])
    def test_is_set_up_and_used_with_the_keyboard(self, settings, browser, support, authenticator_clock, width):
        settings.STAFF_SECOND_FACTOR = "required"
        browser.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        member = User.objects.get()
        member.set_password(PASSWORD)
        member.save()

        def submit(*texts: str) -> None:
            """Type into the fields of the form in their order, and press Enter."""
            browser.driver.execute_script("window.isThePageBefore = true")
            fields = browser.driver.find_elements(By.CSS_SELECTOR, "form input[type=text], form input[type=password]")
            for field, typed in zip(fields, texts, strict=True):
                assert browser.driver.switch_to.active_element == field
                field.send_keys(typed + (Keys.ENTER if field == fields[-1] else Keys.TAB))
            browser.wait()
            assert fits()

        def fits() -> bool:
            return browser.driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")

        browser.open("/admin/")
        submit("ada", PASSWORD, "")
        app = App(authenticator_clock, browser.find(".secret").text)
        assert browser.find(".qr-code").rect["width"] == browser.find(".qr-code").rect["height"] > 200
        submit("000000")
        assert "This code is wrong" in browser.said
        submit(app.code)
        codes = [code.text for code in browser.driver.find_elements(By.CSS_SELECTOR, ".recovery-codes code")]
        browser.click("#content-main a")
        assert "Devices, their rows, and the catalogue" in browser.said

        browser.open("/admin/second-factor/recovery-codes/")
        submit(app.next_code)
        assert len(codes) == 10
        browser.click("#logout-form button")
        browser.open("/admin/")
        submit("ada", PASSWORD, app.next_code)
        assert "Devices, their rows, and the catalogue" in browser.said
        assert browser.browser_errors() == []

    def test_finds_a_food_of_the_catalogue(self, logged_in):
        import_foods(make_food("Nutella", 1, brand="Ferrero", portions=[("1 spoon", 15.0)]), make_food("Milk", 2))

        logged_in.open("/admin/")
        logged_in.click("a[href='/admin/catalog/catalogfood/']")
        logged_in.fill(q="nutela")
        logged_in.click("#changelist-search [type=submit]")
        assert "Milk" not in logged_in.said
        logged_in.click("#result_list a")
        assert "1 spoon: 15.00 g" in logged_in.said
        logged_in.click(".field-release a")

        assert "New and changed foods." in logged_in.said
        assert logged_in.browser_errors() == []
