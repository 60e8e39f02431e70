"""Model-based tests: random calls to the service and to a small model of it must get the same responses.

The model is a second implementation of the API: plain Python in memory, without Django, a database or concurrency. It
follows the documentation for clients (docs/clients.md, docs/api.md and the OpenAPI document at `/v1/docs`) and imports
nothing of the service, so that both are unlikely to have the same mistake. The model covers the calls of all resources,
the pull, and pushes of products. Other pushes have their own tests in tests/sync. Quotas and rate limits are not in the
model.

    values.py         which values are valid, and how they are stored
    model.py          devices, rows and revisions; the expected responses
    devices.py, products.py, portions.py, food_entries.py, sync.py
                      one function for each call: it changes the model, and returns the response or raises Refused
    bodies.py         Hypothesis strategies for bodies and queries
    calls.py          the kinds of calls, and which rows they name
    comparison.py     makes a call to both, compares the responses, and reports differences
    test_contract.py  the test

The test runs 40 sequences of 50 calls by three devices, always the same ones. `CONTRACT_EXAMPLES=1000` runs 1000 random
sequences, which are different each time.

**To read a failure**, start at "Differences" in the message: each line names a place in the response, the value that
the model expects and the actual value. Use the documents above to decide which of the two is wrong. A difference in a
read often comes from an earlier write, which is among the device's last calls in the message.

**To repeat a failure**, run the command in the message, on the same kind of database. The seed determines all calls.
Only ids, tokens and times differ, and no choice depends on them.

**To shrink a failure**, put `CONTRACT_SHRINK=1` before that command. Hypothesis then searches for the shortest failing
sequence, which takes minutes.

**To add a resource**, add its table to LABELS in model.py and to COLUMNS in sync.py. Write its module with one function
for each call, its bodies in bodies.py, and a rule for each call in calls.py. There, also add it to `add_first_rows()`,
to RESOURCES and to the lists of `teardown()`. Then break the service on purpose, and check that the test fails.
"""
