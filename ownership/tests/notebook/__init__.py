"""An app of two models, as small as an app that owns rows can be.

The tests of change sets, ETags and quotas use it, so that `ownership` is tested without an app that imports it. It is
installed only where `ownership/tests/test_new_app.py` runs its tests, in a process of its own.
"""
