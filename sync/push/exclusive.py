"""Who gets a value that only one may have, where many change theirs at once. It knows no database."""

from collections.abc import Hashable


def refused_claims(held: dict, claims: dict[Hashable, Hashable | None]) -> list:
    """Return those whose claim fails, when each value goes to one alone; both arguments are keyed by the claimant.

    `held` says who has which value now, `claims`, in order, what it is to be; None lets go. A value stays with whoever
    has it and claims no other, else the first claim gets it. Whose claim fails keeps what it has, and so takes that
    from whoever claimed it. So two can swap, and nobody loses what it has.
    """
    holders = {value: one for one, value in held.items() if claims.get(one, value) == value}
    refused = []
    for one, value in claims.items():
        if value is None or holders.setdefault(value, one) == one:
            continue
        loser = one
        while loser is not None:
            refused.append(loser)
            kept = held.get(loser)
            loser, holders[kept] = (None if kept is None else holders.get(kept)), loser
    return refused
