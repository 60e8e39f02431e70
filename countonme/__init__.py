import countonme.uuid_hash  # noqa: F401 - first of all: a UUID that is hashed before would not be found again

__version__ = "1.0.0"
