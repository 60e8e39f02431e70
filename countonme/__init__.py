import countonme.uuid_hash  # noqa: F401 - first: a dict would not find a UUID that was hashed before

__version__ = "1.0.0"
