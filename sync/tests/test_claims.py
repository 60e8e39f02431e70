from random import Random

import pytest

from sync.push.exclusive import refused_claims


class TestClaims:
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
            "of nobody",
            "of what is free",
            "of two",
            "of what another has",
            "of what another has and keeps",
            "of what another has and keeps, said later",
            "of what another lets go",
            "of what another leaves",
            "of two that swap",
            "of three in a ring",
            "of none by who had one",
            "of none by who had none",
        ],
    )
    def test_are_refused(self, held, claims, refused):
        assert refused_claims(held, claims) == refused

    def test_that_fail_leave_a_value_where_it_was_and_fail_who_claimed_that(self):
        held = {"a": 1, "b": 2, "c": 3, "keeper": 4}

        assert refused_claims(held, {"a": 2, "b": 3, "c": 4}) == ["c", "b", "a"]

    def test_that_lost_to_a_claim_which_fails_are_not_heard_again(self):
        assert refused_claims({"c": 1, "keeper": 2}, {"a": 1, "b": 1, "c": 2}) == ["b", "c", "a"]

    def test_give_each_value_to_one_and_refuse_nobody_once_more(self):
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
            # Whoever is refused would have been second to somebody.
            assert all(claims[name] in [v for other, v in outcome.items() if other != name] for name in refused)
