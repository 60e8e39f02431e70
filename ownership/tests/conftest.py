from django.apps import apps

# The tests of the notebook need its tables, so `test_new_app.py` runs them in a process that installs it.
collect_ignore = [] if apps.is_installed("ownership.tests.notebook") else ["notebook"]
