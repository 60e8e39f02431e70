import os
import subprocess
import sys
from uuid import UUID, uuid4

from django.conf import settings

MODULUS = 2**61 - 1  # of Python's hash of an int


def run(statement: str, **environment) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", statement]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=settings.BASE_DIR, env=env, capture_output=True, text=True)


class TestTheHashOfAUUID:
    def test_differs_for_ids_with_the_same_hash_in_python(self):
        ids = [UUID(int=5 + k * MODULUS) for k in range(1_000)]

        assert len({hash(row_id.int) for row_id in ids}) == 1
        assert len({hash(row_id) for row_id in ids}) == 1_000

    def test_is_the_same_for_equal_ids(self):
        row_id = uuid4()

        assert hash(UUID(str(row_id))) == hash(row_id)
        assert {row_id: 1}[UUID(int=row_id.int)] == 1

    def test_differs_between_processes(self):
        statement = "import countonme, uuid; print(hash(uuid.UUID(int=1)))"

        assert run(statement, PYTHONHASHSEED="random").stdout != run(statement, PYTHONHASHSEED="random").stdout


class TestTheSystemCheck:
    def test_refuses_a_fixed_hash_seed(self):
        checked = run("from django.core.management import execute_from_command_line as e; e(['', 'check'])")
        unsalted = run(
            "from django.core.management import execute_from_command_line as e; e(['', 'check'])", PYTHONHASHSEED="0"
        )

        assert (checked.returncode, unsalted.returncode) == (0, 1)
        assert "countonme.E011" in unsalted.stderr
