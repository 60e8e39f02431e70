"""Random calls, each made twice: to the service, and in a small model of it. The two responses must be the same.

The model is a second implementation of the API: plain Python in memory, without Django, a database or concurrency. It
follows what clients can read, docs/clients.md, docs/api.md and the OpenAPI document (`/v1/docs`), and imports nothing
of the service. So a mistake has to be made twice to go unnoticed. The model covers the calls of all resources, and the
pull. Push has its own tests in sync/tests. Quotas and rate limits are not in the model.

    values.py         which values are valid, and how they are stored
    model.py          devices, rows and revisions; the expected responses
    devices.py, products.py, portions.py, food_entries.py, sync.py
                      one function for each call: it changes the model, and returns the response or raises Refused
    bodies.py         Hypothesis strategies for bodies and queries
    calls.py          the kinds of calls, and how likely each is to name which row
    comparison.py     one call, in the model and to the service; the message if they differ
    test_contract.py  the test

The test runs 40 sequences of 50 calls of three devices, always the same ones. `CONTRACT_EXAMPLES=1000` runs that many,
other ones each time.

**To read a failure**, begin at "Differences" in the message: each line names a place in the response, what the model
expects and what the service returned. Then decide with the documents above which of the two is wrong. A difference in
a read often comes from an earlier write, which is among the device's last calls in the message.

**To repeat a failure**, run the command in the message, on the same kind of database. The seed decides all calls. Only
ids, tokens and times differ, and no choice depends on them.

**To shrink a failure**, put `CONTRACT_SHRINK=1` before that command. Hypothesis then looks for the shortest sequence
that fails, which takes minutes.

**To add a resource**, add its table to LABELS in model.py and to COLUMNS in sync.py, write its module with one function
for each call, its bodies in bodies.py, and a rule for each call in calls.py. Then break the service on purpose, and see
that the test fails.
"""
