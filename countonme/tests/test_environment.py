import pytest

from countonme.environment import Environment, InvalidSetting, is_writable_file


def env(**values) -> Environment:
    return Environment(values)


def message(call) -> str:
    with pytest.raises(InvalidSetting) as raised:
        call()
    return str(raised.value)


class TestText:
    def test_is_the_default_if_empty(self):
        assert env(HOST=" ").text("HOST", "127.0.0.1") == "127.0.0.1"

    @pytest.mark.parametrize("value", ['"on"', "'on'"])
    def test_must_not_be_in_quotes(self, value):
        assert message(lambda: env(HOST=value).text("HOST")).startswith("HOST is in quotes.")

    @pytest.mark.parametrize("value", ["$HOST", "${HOST}"])
    def test_must_not_be_an_unreplaced_reference(self, value):
        error = message(lambda: env(SECRET_KEY=value).text("SECRET_KEY"))

        assert error == "SECRET_KEY is a reference like $NAME, and nothing replaces it. Set the value itself."

    def test_may_begin_with_a_dollar_sign(self):
        assert env(SECRET_KEY="$a-b").text("SECRET_KEY") == "$a-b"

    def test_can_come_from_a_file(self, tmp_path):
        (tmp_path / "key").write_text("secret\n")

        assert env(SECRET_KEY_FILE=str(tmp_path / "key")).text("SECRET_KEY") == "secret"

    def test_must_not_come_from_a_variable_and_a_file(self, tmp_path):
        both = env(SECRET_KEY="a", SECRET_KEY_FILE=str(tmp_path))

        assert (
            message(lambda: both.text("SECRET_KEY")) == "SECRET_KEY and SECRET_KEY_FILE are both set. Set one of them."
        )

    @pytest.mark.parametrize("content", [None, b"\xff"])
    def test_must_come_from_a_readable_file(self, tmp_path, content):
        if content is not None:
            (tmp_path / "key").write_bytes(content)

        shown = message(lambda: env(SECRET_KEY_FILE=str(tmp_path / "key")).text("SECRET_KEY"))

        assert shown.startswith("SECRET_KEY_FILE names a file that can't be read")


class TestFile:
    def test_must_be_readable(self, tmp_path, monkeypatch):
        monkeypatch.delenv("SECRET_KEY", raising=False)
        file = tmp_path / ".env"
        file.touch()
        monkeypatch.setattr("countonme.environment.os.access", lambda path, mode: path != file)  # tests may run as root

        assert message(lambda: Environment.with_file(file)).startswith(
            f"This user can't read {file}. Run this as the user of the service"
        )

    def test_is_not_needed_if_the_environment_has_the_key(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SECRET_KEY", "secret")
        (tmp_path / ".env").touch()
        monkeypatch.setattr("countonme.environment.os.access", lambda path, mode: False)

        assert Environment.with_file(tmp_path / ".env").text("SECRET_KEY") == "secret"


class TestFlag:
    @pytest.mark.parametrize(
        ("value", "expected"), [("on", True), ("True", True), ("1", True), ("OFF", False), ("no", False), ("", True)]
    )
    def test_is_on_or_off(self, value, expected):
        assert env(HTTPS_ONLY=value).flag("HTTPS_ONLY", True) is expected

    @pytest.mark.parametrize("value", ["enabled", "2", "on off"])
    def test_refuses_other_words(self, value):
        assert message(lambda: env(HTTPS_ONLY=value).flag("HTTPS_ONLY", True)).endswith("It must be on or off.")


class TestNumbers:
    @pytest.mark.parametrize("value", ["three", "1.5", "0", "11", "1" * 30, "٣", "+1"])
    def test_must_be_integers_within_bounds(self, value):
        assert message(lambda: env(N=value).integer("N", 1, minimum=1, maximum=10)).endswith("from 1 to 10.")

    @pytest.mark.parametrize("value", ["-1", "0.01", "61", "nan", "inf", "1e1", "a"])
    def test_must_be_seconds_within_bounds(self, value):
        assert "a number of seconds" in message(lambda: env(N=value).seconds("N", 1, minimum=0.1, maximum=60))

    @pytest.mark.parametrize(("value", "expected"), [("0", 0), ("0.1", 0.1), ("60", 60), ("", 1.5)])
    def test_can_be_seconds_or_zero(self, value, expected):
        assert env(N=value).seconds("N", 1.5, minimum=0.1, maximum=60) == expected

    @pytest.mark.parametrize("value", ["often", "0/min", "30", "600/minute", "10/min "])
    def test_must_be_valid_rates(self, value):
        values = env(RATE=value)
        if value.strip() == "10/min":
            assert values.rate("RATE", "1/h") == "10/min"
        else:
            assert "a rate such as 10/min" in message(lambda: values.rate("RATE", "1/h"))


class TestHosts:
    def test_may_have_spaces_around_commas(self):
        assert env(HOSTS="a.example, b.example ,").hosts("HOSTS") == ["a.example", "b.example"]

    @pytest.mark.parametrize("host", ["*", ".example.org", "localhost", "10.0.0.7", "[::1]", "xn--e1afmkfd.example"])
    def test_can_be_names_and_addresses(self, host):
        assert env(HOSTS=host).hosts("HOSTS") == [host]

    @pytest.mark.parametrize("host", ["https://a.example", "a.example:8000", "a.example/v1", "a b", "-a.example"])
    def test_have_no_scheme_port_or_path(self, host):
        assert "a host name, without https://, port and path" in message(lambda: env(HOSTS=host).hosts("HOSTS"))


class TestOrigins:
    def test_have_a_scheme(self):
        assert env(O="https://a.example, http://localhost:3000").origins("O", "*") == [
            "https://a.example",
            "http://localhost:3000",
        ]
        assert "an origin such as" in message(lambda: env(O="a.example").origins("O", "*"))

    @pytest.mark.parametrize("origin", ["https://a.example/", "https://a.example/app"])
    def test_have_no_path(self, origin):
        assert "an origin such as" in message(lambda: env(O=origin).origins("O", "*"))


class TestProxyHeader:
    def test_is_a_header_and_its_value(self):
        assert env(H="HTTP_X_FORWARDED_PROTO, https").proxy_header("H") == ("HTTP_X_FORWARDED_PROTO", "https")
        assert env().proxy_header("H") is None

    @pytest.mark.parametrize("value", ["X-Forwarded-Proto,https", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PROTO,"])
    def test_refuses_another_form(self, value):
        assert "like HTTP_X_FORWARDED_PROTO,https" in message(lambda: env(H=value).proxy_header("H"))


class TestDatabase:
    SQLITE = {"NAME": "db.sqlite3"}

    def read(self, **values) -> dict:
        variables = env(**values)
        return variables.database("DATABASE_URL", self.SQLITE, variables.text("DATABASE_PASSWORD"))

    def test_is_the_default_if_not_set(self):
        assert self.read() == self.SQLITE

    def test_has_its_password_decoded(self):
        config = self.read(DATABASE_URL="postgres://me:a%2Fb+c%40d@db:5433/countonme")

        assert (config["PASSWORD"], config["HOST"], config["PORT"]) == ("a/b+c@d", "db", 5433)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "${DATABASE_URL}",
            "postgres://me:${PASSWORD}@db/countonme",
            "postgres://me:hunter/2@db/countonme",
            "mysql://db/countonme",
            "postgres://db",
            "countonme",
            "postgres://db:99999/countonme",
            "postgres://[db/countonme",
        ],
    )
    def test_must_be_a_complete_url(self, url):
        shown = message(lambda: self.read(DATABASE_URL=url))

        assert shown.startswith("DATABASE_URL ")
        assert "hunter" not in shown

    @pytest.mark.parametrize("password", ["a/b+c@d%e#f:g", "%2F", "a$1"])
    def test_has_a_password_from_another_variable(self, tmp_path, password):
        (tmp_path / "password").write_text(f"{password}\n")
        url = {"DATABASE_URL": "postgres://me@db/countonme"}

        assert self.read(**url, DATABASE_PASSWORD=password)["PASSWORD"] == password
        assert self.read(**url, DATABASE_PASSWORD_FILE=str(tmp_path / "password"))["PASSWORD"] == password

    def test_has_one_password(self):
        shown = message(lambda: self.read(DATABASE_URL="postgres://me:hunter@db/countonme", DATABASE_PASSWORD="2"))

        assert shown == "DATABASE_URL has a password, and DATABASE_PASSWORD is set too. Set one of them."


class TestCache:
    def test_can_be_redis(self):
        assert (
            env(CACHE_URL="rediscache://h:6379/0").cache("CACHE_URL", "locmemcache://")["LOCATION"]
            == "redis://h:6379/0"
        )

    @pytest.mark.parametrize("url", ["cache", "foo://:hunter2@h"])
    def test_must_have_a_known_scheme(self, url):
        assert message(lambda: env(CACHE_URL=url).cache("CACHE_URL", "locmemcache://")).startswith("CACHE_URL must be")


class TestToken:
    @pytest.mark.parametrize("token", ["short", "with a space in between it", "x" * 19, "é" * 30])
    def test_must_be_long_and_valid_in_a_header(self, token):
        shown = message(lambda: env(METRICS_TOKEN=token).token("METRICS_TOKEN"))

        assert token not in shown


class TestAWritableFile:
    @pytest.mark.parametrize("name", ["file", "new", "link"])
    def test_can_exist_or_be_created(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to("file")

        assert is_writable_file(str(tmp_path / name))
        assert is_writable_file(name)
