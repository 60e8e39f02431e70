"""SQLite, with a queue in the process that serves: its threads write in the order in which they asked to.

SQLite has one lock for all writers. A writer that finds it locked tries again after a pause, so that one writer can
miss it for seconds while others take it again and again. In this package writers wait in a queue instead.
"""
