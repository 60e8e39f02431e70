"""Read settings from the environment and from `.env`, and check them.

A wrong value raises InvalidSetting. It ends the process with one line that names the variable. The line never quotes a
secret.

Each function takes the variable's name and the setting's default. A variable that is empty counts as not set, unless
the function's docstring says otherwise. A value can also come from a file: if `NAME_FILE` is set, the file's content is
the value of `NAME`.
"""

import ipaddress
import math
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import environ

REFERENCE = re.compile(r"\$\{?\w+\}?")  # `$NAME` or `${NAME}`, which nobody replaced by its value
RATE = re.compile(r"[1-9][0-9]*/(s|sec|m|min|h|hour|d|day)")
HOST = re.compile(r"\*|\.?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?", re.IGNORECASE)
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", re.IGNORECASE)
META_HEADER = re.compile(r"HTTP_[A-Z0-9_]+")
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{20,}")
DATABASES = ("django.db.backends.postgresql", "django.db.backends.sqlite3")
OTHER_USER = "Run this as the user of the service: on a bare host, with `sudo -u countonme`."
FLAGS = {
    **dict.fromkeys(("on", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "false", "no", "0"), False),
}


class InvalidSetting(SystemExit):
    """A setting is missing or wrong. If nobody catches it, Python prints its message and exits with status 1."""


class Environment:
    """Reads one setting a call. `values` are the variables; the default is the process's environment."""

    def __init__(self, values: Mapping[str, str] | None = None):
        self.values = os.environ if values is None else values

    @classmethod
    def with_file(cls, file: Path) -> "Environment":
        """Add the variables of a `.env` file to the process's environment, except those that are set there."""
        if not {"SECRET_KEY", "SECRET_KEY_FILE"} & os.environ.keys() and file.exists() and not os.access(file, os.R_OK):
            raise InvalidSetting(f"This user can't read {file}. {OTHER_USER}")
        environ.Env.read_env(file)
        return cls()

    def text(self, name: str, default: str = "") -> str:
        value = self.values.get(name, "").strip()
        if file := self.values.get(f"{name}_FILE", "").strip():
            if value:
                raise InvalidSetting(f"{name} and {name}_FILE are both set. Set one of them.")
            value = read_secret(name, file)
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            raise InvalidSetting(f"{name} is in quotes. Remove them: they would be a part of the value.")
        if REFERENCE.fullmatch(value):
            raise InvalidSetting(f"{name} is a reference like $NAME, and nothing replaces it. Set the value itself.")
        return value or default

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name)
        if not value:
            return default
        if value.lower() not in FLAGS:
            raise invalid_setting(name, value, "on or off")
        return FLAGS[value.lower()]

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices, which is compared without regard to case."""
        value = self.text(name, default)
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise invalid_setting(name, value, " or ".join(choice or "empty" for choice in choices))

    def integer(self, name: str, default: int, *, minimum: int, maximum: int | None = None) -> int:
        value = self.text(name, str(default))
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not minimum <= int(value) <= (maximum or math.inf):
            bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise invalid_setting(name, value, f"an integer {bounds}")
        return int(value)

    def seconds(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        """Return a number of seconds. 0 is always allowed, and means no limit."""
        value = self.text(name, str(default))
        number = float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) else math.nan
        if number != 0 and not minimum <= number <= maximum:
            raise invalid_setting(name, value, f"a number of seconds from {minimum} to {maximum}, or 0")
        return number

    def rate(self, name: str, default: str, *, can_be_off: bool = False) -> str | None:
        """Return a rate, or None for `off`."""
        value = self.text(name, default)
        if can_be_off and value.lower() == "off":
            return None
        if not RATE.fullmatch(value):
            form = "a rate such as 10/min: a number per s, min, h or d"
            raise invalid_setting(name, value, f"{form}; or off" if can_be_off else form)
        return value

    def parts(self, name: str, default: str = "") -> list[str]:
        """Return the values of a list with commas, without spaces around them."""
        return [part.strip() for part in self.text(name, default).split(",") if part.strip()]

    def hosts(self, name: str) -> list[str]:
        for host in (hosts := self.parts(name)):
            if not (HOST.fullmatch(host) or is_ip_address(host.removeprefix("[").removesuffix("]"))):
                raise invalid_setting(name, host, "a host name, without https://, port and path")
        return hosts

    def origins(self, name: str, default: str) -> list[str]:
        for origin in (origins := self.parts(name, default)):
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise invalid_setting(name, origin, "an origin such as https://app.example.org, or *")
        return origins

    def proxy_header(self, name: str) -> tuple[str, str] | None:
        header, _, value = (value := self.text(name)).partition(",")
        if not header:
            return None
        if not META_HEADER.fullmatch(header) or not value.strip():
            raise invalid_setting(name, f"{header},{value}", "like HTTP_X_FORWARDED_PROTO,https")
        return header, value.strip()

    def token(self, name: str) -> str:
        value = self.text(name)
        if value and not TOKEN.fullmatch(value):
            raise InvalidSetting(
                f"{name} must have at least 20 letters, digits and characters of `._~+/=-`. Set it to the output of: "
                'python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        return value

    def database(self, name: str, default: dict, password: str) -> dict:
        """Return Django's settings of a database. The default is used if the variable is not set; it can't be empty.

        The URL has the password, or DATABASE_PASSWORD does.
        """
        if name not in self.values and f"{name}_FILE" not in self.values:
            return default
        url = self.text(name)
        config = parse_url(environ.Env.db_url_config, url)
        if not config or config["ENGINE"] not in DATABASES or not config["NAME"] or "${" in url:
            raise InvalidSetting(
                f"{name} must be like postgres://user:password@host:5432/name. Percent-encode special characters in "
                "the password: / as %2F, @ as %40. For SQLite, remove the variable."
            )
        if password and config["PASSWORD"]:
            raise InvalidSetting(f"{name} has a password, and DATABASE_PASSWORD is set too. Set one of them.")
        config["PASSWORD"] = config["PASSWORD"] or password
        return config

    def cache(self, name: str, default: str) -> dict:
        config = parse_url(environ.Env.cache_url_config, self.text(name, default))
        if not config:
            raise InvalidSetting(f"{name} must be like rediscache://host:6379/0.")
        return config


def invalid_setting(name: str, value: str, form: str) -> InvalidSetting:
    shown = value if len(value) <= 100 else f"{value[:100]}…"
    return InvalidSetting(f"{name} is {shown!r}. It must be {form}.")


def is_writable_file(file: str) -> bool:
    """Return whether this process can append to a file, or create it."""
    if os.path.exists(file):
        return os.path.isfile(file) and os.access(file, os.R_OK | os.W_OK)
    return os.access(os.path.dirname(file) or ".", os.W_OK | os.X_OK)


def read_secret(name: str, file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{name}_FILE names a file that can't be read: {error}.") from None


def parse_url(parse, url: str) -> dict:
    """Return the settings in a URL, or an empty dict if it is not valid."""
    try:
        urlsplit(url)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unknown schemes, with the URL and its password
            return parse(url)
    except (ValueError, environ.ImproperlyConfigured):
        return {}


def is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
