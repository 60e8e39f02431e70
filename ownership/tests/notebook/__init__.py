"""A minimal app with two device-owned models, for the tests of change sets, ETags and quotas.

It lets `ownership` be tested without the real apps, which import it. The app is only installed in the separate process
in which `ownership/tests/test_new_app.py` runs its tests.
"""
