from random import Random

import pytest

from sync.push.exclusive import refused_claims


class TestRefusedClaims:
    @pytest.mark.parametrize(
        ("held", "claims", "refused"),
        [
            ({}, {}, []),
            ({}, {"a": 1}, []),
            ({}, {"a": 1, "b": 1}, ["b"]),
            ({"a": 1}, {"b": 1}, ["b"]),
            ({"a": 1}, {"a": 1, "b": 1}, ["b"]),
            ({"a": 1}, {"b": 1, "a": 1}, ["b"]),
            ({"a": 1}, {"b": 1, "a": None}, []),
            ({"a": 1}, {"b": 1, "a": 2}, []),
            ({"a": 1, "b": 2}, {"a": 2, "b": 1}, []),
            ({"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 3, "c": 1}, []),
            ({"a": 1, "b": 2}, {"a": None, "b": None}, []),
            ({}, {"a": None, "b": None}, []),
        ],
        ids=[
            "no claims",
            "a free value",
            "two claims on a free value",
            "a value of another claimant",
            "a value that its holder claims first",
            "a value that its holder claims later",
            "a value that its holder gives up",
            "a value whose holder claims another one",
            "two that swap",
            "three in a ring",
            "two that give up their values",
            "two that have no values to give up",
        ],
    )
    def test_are_returned(self, held, claims, refused):
        assert refused_claims(held, claims) == refused

    def test_include_claims_on_values_that_refused_claimants_keep(self):
        held = {"a": 1, "b": 2, "c": 3, "keeper": 4}

        assert refused_claims(held, {"a": 2, "b": 3, "c": 4}) == ["c", "b", "a"]

    def test_include_claims_that_lost_to_a_refused_claim(self):
        assert refused_claims({"c": 1, "keeper": 2}, {"a": 1, "b": 1, "c": 2}) == ["b", "c", "a"]

    def test_give_each_value_to_one_claimant_and_are_minimal(self):
        random = Random(1)
        for _ in range(2000):
            names = list(range(random.randint(1, 6)))
            held = dict(zip(names, random.sample(range(6), len(names)), strict=True))
            held = {name: value for name, value in held.items() if random.random() < 0.7}
            claims = {name: random.choice([None, *range(6)]) for name in names if random.random() < 0.8}

            refused = refused_claims(held, claims)

            outcome = held | {name: value for name, value in claims.items() if name not in refused}
            values = [value for value in outcome.values() if value is not None]
            assert len(set(values)) == len(values), (held, claims)
            assert len(set(refused)) == len(refused)
            assert set(refused) <= claims.keys()
            # A refused claimant wants a value that another one has in the end.
            assert all(claims[name] in [v for other, v in outcome.items() if other != name] for name in refused)
