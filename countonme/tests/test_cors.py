import pytest

ORIGIN = "https://app.example"


def names(header: str) -> set[str]:
    return set(header.lower().split(", "))


@pytest.fixture
def preflight(anonymous):
    def preflight(path, origin=ORIGIN, method="DELETE"):
        requested = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
        return anonymous.options(path, headers={"Origin": origin, **requested})

    return preflight


class TestAPreflight:
    @pytest.mark.parametrize("path", ["/v1/products", "/v1/auth/register", "/v1/devices/me", "/v1/schema", "/v1"])
    def test_under_v1_allows_the_methods_and_headers_of_the_api(self, preflight, path):
        response = preflight(path)

        assert response.status_code == 200
        assert response["Access-Control-Allow-Origin"] == "*"
        assert names(response["Access-Control-Allow-Methods"]) >= {"get", "post", "put", "patch", "delete"}
        ours = {"accept", "authorization", "content-type", "if-none-match", "x-request-id"}
        of_tracing = {"traceparent", "tracestate", "baggage", "sentry-trace"}
        assert names(response["Access-Control-Allow-Headers"]) == ours | of_tracing
        assert "Access-Control-Allow-Credentials" not in response

    @pytest.mark.parametrize(
        "path", ["/admin/", "/admin/login/", "/healthz", "/readyz", "/v2/products", "/x/v1/", "/v11", "/"]
    )
    def test_outside_of_v1_allows_nothing(self, preflight, path):
        response = preflight(path)

        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


class TestAResponse:
    @pytest.mark.parametrize(
        ("path", "status"),
        [("/v1/products", 200), ("/v1/products?limit=0", 422), ("/v1/nothing", 404), ("/v1/auth/register", 405)],
    )
    def test_under_v1_can_be_read_by_any_site(self, api, path, status):
        response = api.get(path, headers={"Origin": ORIGIN})

        assert response.status_code == status
        assert response["Access-Control-Allow-Origin"] == "*"
        assert names(response["Access-Control-Expose-Headers"]) == {
            "content-disposition",
            "etag",
            "link",
            "location",
            "retry-after",
            "x-request-id",
        }
        assert "Access-Control-Allow-Credentials" not in response

    def test_under_v1_can_be_read_by_any_site_if_it_is_a_304(self, api):
        known = api.get("/v1/products")["ETag"]

        response = api.get("/v1/products", headers={"Origin": ORIGIN, "If-None-Match": known})

        assert response.status_code == 304
        assert response["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.parametrize(
        ("body", "accept", "status"), [("", "*/*", 401), ("x" * 2_000_000, "*/*", 413), ("", "text/html", 406)]
    )
    def test_under_v1_can_be_read_by_any_site_if_it_is_an_error(self, anonymous, body, accept, status):
        response = anonymous.generic("POST", "/v1/products", body, headers={"Origin": ORIGIN, "Accept": accept})

        assert response.status_code == status
        assert response["Access-Control-Allow-Origin"] == "*"

    def test_under_v1_can_be_read_by_any_site_during_an_outage(self, api, unreachable_database):
        response = api.get("/v1/products", headers={"Origin": ORIGIN})

        assert response.status_code == 503
        assert response["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/healthz", "/nothing"])
    def test_outside_of_v1_can_be_read_by_no_site(self, anonymous, path):
        response = anonymous.get(path, headers={"Origin": ORIGIN})

        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


class TestConfiguredOrigins:
    @pytest.fixture(autouse=True)
    def narrowed(self, settings):
        settings.CORS_ALLOW_ALL_ORIGINS = False
        settings.CORS_ALLOWED_ORIGINS = [ORIGIN]

    def test_allow_a_configured_origin(self, api, preflight):
        for response in (preflight("/v1/products"), api.get("/v1/products", headers={"Origin": ORIGIN})):
            assert response.status_code == 200
            assert response["Access-Control-Allow-Origin"] == ORIGIN
            assert "origin" in names(response["Vary"])

    @pytest.mark.parametrize("other", ["https://evil.example", "http://app.example", "https://app.example:81", "null"])
    def test_refuse_other_origins(self, api, preflight, other):
        for response in (preflight("/v1/products", other), api.get("/v1/products", headers={"Origin": other})):
            assert "Access-Control-Allow-Origin" not in response
