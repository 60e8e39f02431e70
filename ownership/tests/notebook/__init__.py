"""An app of two models, as small as an app that owns rows can be.

It is installed only where `ownership/tests/test_new_app.py` runs its tests, in a process of its own.
"""
