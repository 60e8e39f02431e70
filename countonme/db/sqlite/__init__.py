"""Django's backend for SQLite, with a queue for the writers of the web process: first come, first served.

SQLite has one lock for all writers. A writer that finds it locked retries after a pause, so it can miss the lock for
seconds while others take it again and again. In this backend writers wait in a queue instead.
"""
