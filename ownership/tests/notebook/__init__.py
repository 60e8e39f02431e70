"""The smallest complete app with device-owned models, an example for new apps: notes, and lines that are parts of one.

Its tests show that a new app needs nothing but its folder, its settings and its URLs. It is only installed in the
process in which `ownership/tests/test_new_app.py` runs these tests.
"""
