"""The attacks. Each kind has a script for each of its connections, which sends one request after the other.

A script is a generator. It yields a request and gets the reply to it. Bodies are built once, before the attack begins.
If each request needs new ids, only MARK is replaced in them.
"""

import json
import os
import secrets
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import count, cycle
from urllib.parse import quote
from uuid import uuid4

from tests.e2e.abuse.wire import Reply, Request, request

CONNECTIONS = 6
MERSENNE = 2**61 - 1  # Python's hash of a UUID is its number modulo this
COLLISIONS = 16_000
MAX_BODY = 20 * 1024 * 1024
VALUES = 1_500_000
LARGEST_PUSH = 50_000  # rows
REJECTED = 100_000
DELETIONS = 500_000
WRITTEN = 5_000  # rows in each push of the attack "writes"
LONG_NAME = "ß" * 100  # its key, without case and accents, has 200 characters
MARK = "5eed5eed"  # 8 hexadecimal digits at the beginning of ids
SHARED_ADDRESS = "198.51.100.99"  # the IP address of a hostile device and of the honest ones, as behind one NAT

Script = Generator[Request, Reply, None]


@dataclass(frozen=True)
class Caller:
    """A registered device, with the values that its requests need."""

    id: str
    token: str
    address: str
    product_id: str = ""
    revision: int = 0

    def get(self, path: str, **options) -> Request:
        return request("GET", path, address=self.address, token=self.token, **options)

    def post(self, path: str, body: bytes = b"", **options) -> Request:
        return request("POST", path, address=self.address, token=self.token, body=body, **options)

    def pull(self, since: int = 0, **options) -> Request:
        return self.get(f"/v1/sync?last_pulled_at={since}", **options)

    def push(self, body: bytes, since: int = 0, **options) -> Request:
        return self.post(f"/v1/sync?last_pulled_at={since}", body, **options)


@dataclass(frozen=True)
class Attack:
    name: str
    sent: str  # what is sent, for the table
    scripts: Callable[[list[Caller]], list[Script]]  # one for each connection
    shares_address: bool = False  # with the honest devices
    share: int = 1  # of the time; attacks whose requests take seconds need more


def by_connection(callers: list[Caller]) -> list[Caller]:
    """Return the caller for each connection."""
    return [callers[place % len(callers)] for place in range(CONNECTIONS)]


def again_and_again(*requests: Request, first: int = 0) -> Script:
    for each in cycle((*requests[first:], *requests[:first])):  # noqa: UP028 - `yield from` would send the replies to `cycle`
        yield each


def in_turn(scripts: list[Script]) -> Script:
    """Run several scripts over one connection: each sends one request in turn."""
    replies: list[Reply | None] = [None] * len(scripts)
    for place in cycle(range(len(scripts))):
        replies[place] = yield scripts[place].send(replies[place])


# --- bodies ---------------------------------------------------------------------------------------


def ids(number: int) -> Iterator[str]:
    for place in range(number):
        yield f"{MARK}-0000-4000-8000-{place:012x}"


def fresh(body: bytes) -> bytes:
    """Return the body with new ids."""
    return body.replace(MARK.encode(), os.urandom(4).hex().encode())


def colliding_ids(number: int) -> list[str]:
    """Return ids that all have the same hash in Python."""
    first = secrets.randbits(120)
    texts = (f"{first + place * MERSENNE:032x}" for place in range(number))
    return [f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" for text in texts]


def full_body(before: str, item: str, after: str, most: int | None = None) -> bytes:
    """Return a body of the maximum size: as many items as fit, at most `most`."""
    number = (MAX_BODY - len(before) - len(after)) // (len(item) + 1)
    number = min(number, most or number)
    return (before + f"{item}," * (number - 1) + item + after).encode()


def table(name: str, **lists) -> bytes:
    return json.dumps({name: lists}, separators=(",", ":")).encode()


def entries(caller: Caller, number: int) -> bytes:
    row = {"product_id": caller.product_id, "date": "2026-01-05", "meal_type": "lunch", "grams": 70}
    return table("food_entries", created=[{"id": row_id, **row} for row_id in ids(number)])


# --- scripts --------------------------------------------------------------------------------------


def collisions(callers: list[Caller]) -> list[Script]:
    texts = colliding_ids(COLLISIONS)
    deleted = table("products", deleted=texts)
    created = table("products", created=[{"id": text, "name": "Rye", "kcal_100g": 1} for text in texts])
    bodies = (deleted, created)
    staying, leaving = by_connection(callers)[:4], by_connection(callers)[4:]
    return [
        *(again_and_again(caller.push(bodies[place % 2])) for place, caller in enumerate(staying)),
        *(again_and_again(caller.push(bodies[place % 2], leave=True)) for place, caller in enumerate(leaving)),
    ]


def searches(callers: list[Caller]) -> list[Script]:
    texts = ("t" + "ß" * 99, "t" + "ß" * 49, "ßt " * 33)  # the second one fails late in a comparison
    return [
        again_and_again(*(caller.get(f"/v1/products?search={quote(text)}") for text in texts), first=place % len(texts))
        for place, caller in enumerate(by_connection(callers))
    ]


def large_bodies(callers: list[Caller]) -> list[Script]:
    before, after = '{"products":{"created":[', "]}}"
    bodies = [
        full_body(before, "{}", after),
        full_body(before, "[[[]]]", after),
        full_body('{"products":{"deleted":[', '"aaaaaaaaa"', after, most=VALUES - 10),
    ]
    largest = {caller: entries(caller, LARGEST_PUSH) for caller in callers}

    def script(caller: Caller, first: int) -> Script:
        for place in count(first):
            kind = place % (len(bodies) + 1)
            yield caller.push(bodies[kind] if kind < len(bodies) else fresh(largest[caller]))

    return [script(caller, place) for place, caller in enumerate(by_connection(callers))]


def expensive_reads(callers: list[Caller]) -> list[Script]:
    paths = (
        "/v1/food-entries?limit=200&offset=249000",
        "/v1/food-entries/summary?from=2026-01-01&to=2026-12-31",
        "/v1/products?limit=200&offset=19000",
        "/v1/products?limit=200&search=no%20such%20name",
    )
    return [
        again_and_again(*map(caller.get, paths), first=place % len(paths))
        for place, caller in enumerate(by_connection(callers))
    ]


def pulls(callers: list[Caller]) -> list[Script]:
    return [again_and_again(caller.pull(gzip=place % 2 == 1)) for place, caller in enumerate(by_connection(callers))]


def writes(callers: list[Caller]) -> list[Script]:
    def script(caller: Caller) -> Script:
        created = entries(caller, WRITTEN)
        deleted = table("food_entries", deleted=list(ids(WRITTEN)))
        since = caller.revision
        while True:
            mark = os.urandom(4).hex().encode()
            for body in (created, deleted):
                yield caller.push(body.replace(MARK.encode(), mark), since)
                reply = yield caller.pull(since)
                since = reply.timestamp(otherwise=since)

    return [script(callers[0])]


def rotations(callers: list[Caller]) -> list[Script]:
    return [again_and_again(caller.post("/v1/auth/rotate")) for caller in by_connection(callers)]


def wrong_tokens(callers: list[Caller]) -> list[Script]:
    """Send guessed tokens and a blocked token. The first caller is blocked. The last one's secret is guessed."""
    blocked = callers[0]

    def guesses(device_id: Callable[[], str]) -> Script:
        while True:
            token = f"{device_id()}.{secrets.token_urlsafe(32)}"
            yield request("GET", "/v1/products", address=SHARED_ADDRESS, token=token)

    return [
        *(guesses(lambda: str(uuid4())) for _ in range(2)),
        *(guesses(lambda: callers[-1].id) for _ in range(2)),
        *(again_and_again(blocked.get("/v1/products")) for _ in range(2)),
    ]


def registrations(callers: list[Caller]) -> list[Script]:
    def register(address: str) -> Request:
        return request("POST", "/v1/auth/register", address=address, body=f'{{"device_id":"{uuid4()}"}}'.encode())

    def of_one_address() -> Script:
        while True:
            yield register("203.0.113.200")

    def of_many_networks(first: int) -> Script:
        for place in count(first, CONNECTIONS):
            yield register(f"2001:db8:77:{place % 65536:x}::1")

    half = CONNECTIONS // 2
    return [*(of_one_address() for _ in range(half)), *(of_many_networks(place) for place in range(half))]


def ordinary_requests(callers: list[Caller]) -> list[Script]:
    def requests(caller: Caller) -> list[Request]:
        entry = {"product_id": caller.product_id, "grams": 70, "date": "2026-01-05", "meal_type": "lunch"}
        return [
            caller.get("/v1/products"),
            caller.get("/v1/food-entries?date=2026-01-05"),
            caller.get("/v1/food-entries/summary?from=2026-01-05&to=2026-01-05"),
            caller.post("/v1/food-entries", json.dumps(entry).encode()),
        ]

    return [again_and_again(*requests(caller), first=place % 4) for place, caller in enumerate(by_connection(callers))]


def small_syncs(callers: list[Caller]) -> list[Script]:
    def script(caller: Caller) -> Script:
        body, since = entries(caller, 3), caller.revision
        while True:
            yield caller.push(fresh(body), since)
            reply = yield caller.pull(since)
            since = reply.timestamp(otherwise=since)

    return [script(caller) for caller in by_connection(callers)]


def useless_pushes(callers: list[Caller]) -> list[Script]:
    faults = {"name": "", "kcal_100g": -1, "protein_100g": 101, "fat_100g": "x", "barcode": "123"}
    bodies = (
        table("products", created=[{"id": row_id, **faults} for row_id in ids(REJECTED)]),
        table("products", deleted=list(ids(DELETIONS))),
        table("recipes", created=[{"id": row_id, "name": "Soup"} for row_id in ids(REJECTED)]),
        table("x" * 10_000_000, deleted=[str(place) for place in range(10_000)]),
        json.dumps({"x": {str(place): 1 for place in range(MAX_BODY // 14)}}, separators=(",", ":")).encode(),
        json.dumps({"x": {"deleted": ["x" * (MAX_BODY - 100) + "😀"]}}, ensure_ascii=False).encode(),
        b"",
    )
    return [
        again_and_again(*map(caller.push, bodies), first=place % len(bodies))
        for place, caller in enumerate(by_connection(callers))
    ]


ATTACKS = (
    Attack("collisions", f"pushes with {COLLISIONS:,} ids of one hash, some from clients that disconnect", collisions),
    Attack("searches", "searches of 100 chosen characters among 20,000 long names", searches),
    Attack("bodies", "pushes of 20 MiB: {}, [[[]]], 1.5 million values; 50,000 new rows", large_bodies, share=3),
    Attack("reads", "last pages, a summary and a search of a device with 310,000 rows", expensive_reads),
    Attack("pulls", "first pulls of 310,000 rows, plain and gzip", pulls, share=3),
    Attack("writes", f"one connection: {WRITTEN:,} new rows, their deletions, and so on", writes),
    Attack("rotations", "rotate the token", rotations),
    Attack(
        "tokens", "unknown devices, wrong secrets, a blocked device; same address as the honest", wrong_tokens, True
    ),
    Attack("registrations", "from one IPv4 address, and from the /64 of one IPv6 /48", registrations),
    Attack("requests", "lists, days, summaries and new entries, as fast as possible", ordinary_requests),
    Attack("syncs", "small pushes and pulls from six connections of one device", small_syncs),
    Attack(
        "rejections",
        f"pushes of {REJECTED:,} bad rows, {DELETIONS:,} deletions, unknown tables, long names, nothing",
        useless_pushes,
        share=3,
    ),
)
BY_NAME = {attack.name: attack for attack in ATTACKS}


def scripts_of(names: list[str], callers: dict[str, list[Caller]]) -> list[Script]:
    """Return the script of each of the six connections. Several attacks share the connections and take turns."""
    scripts = [BY_NAME[name].scripts(callers[name]) for name in names]
    if len(scripts) == 1:
        return scripts[0]
    attacks = [in_turn(each) for each in scripts]
    return [in_turn(attacks[place::CONNECTIONS]) for place in range(min(CONNECTIONS, len(attacks)))]
