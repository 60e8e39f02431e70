"""The service and the model return the same responses to random calls. The docstring of tests.contract explains it."""

import logging
import os
import random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract import portions
from tests.contract.calls import RandomCalls
from tests.contract.comparison import Difference

FEW = 40
DEFAULT_SEED = 5  # few sequences with this seed get most kinds of responses
SEQUENCES = int(os.environ.get("CONTRACT_EXAMPLES", FEW))
SEED = int(os.environ.get("CONTRACT_SEED", DEFAULT_SEED if SEQUENCES == FEW else random.randrange(10**6)))
SHRINK = bool(os.environ.get("CONTRACT_SHRINK"))


class SeededCalls(RandomCalls):
    command = f"CONTRACT_SEED={SEED} CONTRACT_EXAMPLES={SEQUENCES} make test ARGS=tests/contract"


@pytest.fixture(autouse=True)
def _no_log_of_requests(caplog):
    caplog.set_level(logging.CRITICAL, "countonme.requests")


def run_sequences() -> None:
    """Run the sequences. Report a difference by its message alone, without Hypothesis' long traceback."""
    options = settings(
        max_examples=SEQUENCES,
        stateful_step_count=50,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(SEED)(SeededCalls), settings=options)
    except Difference as difference:
        raise pytest.fail.Exception(str(difference), pytrace=False) from None
    except Exception as error:
        error.add_note(f"To repeat it: {SeededCalls.command}")
        raise


@pytest.mark.django_db
class TestTheService:
    def test_returns_what_the_model_expects(self):
        run_sequences()


@pytest.mark.django_db
class TestTheMessageOfAFailure:
    def test_has_the_call_the_difference_and_the_command_to_repeat_it(self, monkeypatch):
        monkeypatch.setitem(portions.FIELDS, "grams", lambda value: 1)

        with pytest.raises(pytest.fail.Exception) as failure:
            run_sequences()

        message = str(failure.value)
        assert "The last 10 calls of this device:\n    POST /v1/products {" in message
        assert "The differing call:\n    POST /v1/products/" in message
        assert '/portions {"name": "Slice", "grams": 35.5}\nExpected, by the model:\n    201 {' in message
        assert "Actual, by the service:\n    201 {" in message
        assert "Differences:\n    body.grams: expected 1, actual 35.5\n" in message
        assert f"CONTRACT_SEED={SEED} CONTRACT_EXAMPLES={SEQUENCES} make test ARGS=tests/contract" in message
