"""Import foods: store them in batches while others read and write, and then rank them.

Each batch is a transaction of its own. An import that was stopped is simply run again: what is stored already is not
written a second time.
"""

import fcntl
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import Count, F, FloatField, Q, QuerySet, Value, Window
from django.db.models.functions import Greatest, RowNumber
from django.utils import timezone

from catalog.bundles import make_bundle
from catalog.food import Food, Refused
from catalog.models import POPULAR, REST, CatalogFood, CatalogRelease, CatalogSpelling
from catalog.sources import OFF
from catalog.spelling import has_letters_only, squeeze
from catalog.storing import add_spellings, store
from countonme.db.bulk import in_batches

BATCH = 1_000  # rows in a transaction
MAX_WITHDRAWN = 0.05  # the share of a source's foods that one import may withdraw
POPULAR_SHARE = 0.03  # of the foods in each language
MIN_POPULAR = 1_000  # in each language
LOCK = 5_206_741_204  # an arbitrary number, the same in every version

RUNNING = "Another import is running. Wait for its end."


class ImportFailed(Exception):
    """The message is for the operator. `release` is the import, if it stored all foods that it read."""

    def __init__(self, message: str, release: CatalogRelease | None = None):
        super().__init__(message)
        self.release = release


class SeenIds:
    """A set of ids that takes 9 bytes for each. It stores 60 random bits of each id, which is enough."""

    def __init__(self):
        self.buckets: dict[int, array] = defaultdict(lambda: array("Q"))

    def add(self, food_id: UUID) -> bool:
        """Add an id. Return whether it is new."""
        if food_id in self:
            return False
        self.buckets[food_id.int >> 112].append(food_id.int >> 64)
        return True

    def __contains__(self, food_id: UUID) -> bool:
        return food_id.int >> 64 in self.buckets[food_id.int >> 112]


class Counts:
    """What became of the rows that were read."""

    def __init__(self, progress: Callable[["Counts"], None]):
        self.progress = progress
        self.read = self.changed = 0
        self.refused: Counter[str] = Counter()
        self.seen = SeenIds()

    def accepted(self, rows: Iterable[Food | Refused]) -> Iterator[Food]:
        """Count the rows, and yield the foods among them, each id once."""
        for row in rows:
            self.read += 1
            self.progress(self)
            if isinstance(row, Refused):
                self.refused[row.reason] += 1
            elif not self.seen.add(row.id):
                self.refused["duplicate"] += 1
            else:
                yield row


def count(rows: Iterable[Food | Refused], progress: Callable[[Counts], None]) -> Counts:
    """Read all rows and count them, without a change of the database."""
    counts = Counts(progress)
    for _ in counts.accepted(rows):
        pass
    return counts


def run(
    source: str,
    file_name: str,
    rows: Iterable[Food | Refused],
    progress: Callable[[Counts], None],
    *,
    is_complete: bool = False,
) -> CatalogRelease:
    """Import the rows and return the release. With `is_complete`, withdraw the source's foods that are not among them.

    Raise ImportFailed if too many would be withdrawn. The foods that were read are stored all the same.
    """
    with only_import():
        release = CatalogRelease.objects.create(source=source, file_name=file_name[:255], started_at=timezone.now())
        known = live_foods(source).count() if is_complete else 0
        counts = Counts(progress)
        foods = counts.accepted(rows)
        while batch := list(islice(foods, BATCH)):
            with transaction.atomic():
                counts.changed += store(batch, release, timezone.now())
                save(release, counts)
        failure = withdraw_missing(release, counts.seen, known) if is_complete else None
        if source == OFF.name:
            rank_by_popularity(release)
        count_spellings()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE catalog_foods")
        make_bundle(release)
        release.foods, release.finished_at = live_foods(source).count(), timezone.now()
        save(release, counts)
    if failure:
        raise ImportFailed(failure, release)
    return release


@contextmanager
def only_import() -> Iterator[None]:
    """Make sure that no other import of this database runs at the same time. The lock ends with the process."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if not cursor.fetchone()[0]:
                raise ImportFailed(RUNNING)
            try:
                yield
            finally:
                with suppress(DatabaseError):  # after an error of the connection, which ends the lock too
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
        return
    name = str(connection.settings_dict["NAME"])
    if ":memory:" in name or "mode=memory" in name:  # no other process can open it
        yield
        return
    with locked_file(f"{name}-import"):
        yield


@contextmanager
def locked_file(path: str) -> Iterator[None]:
    try:
        file = open(path, "w")  # noqa: SIM115 - errors inside the block are not errors of this file
    except OSError as error:
        raise ImportFailed(f"The lock of imports can't be opened: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImportFailed(RUNNING) from None
        yield


def save(release: CatalogRelease, counts: Counts) -> None:
    """Store the counts. The number of batches changes, so that responses get new ETags."""
    release.batches += 1
    release.read, release.changed, release.refused = counts.read, counts.changed, dict(counts.refused)
    release.save()


def live_foods(source: str) -> QuerySet:
    return CatalogFood.objects.filter(source=source, tier__isnull=False)


def withdraw_missing(release: CatalogRelease, seen: SeenIds, known: int) -> str | None:
    """Withdraw the source's foods that are not among the ids. Return why not, if they are too many of those `known`."""
    live = live_foods(release.source)
    limit = int(MAX_WITHDRAWN * known)
    missing = (serial for serial, food_id in live.values_list("serial", "uuid").iterator() if food_id not in seen)
    gone = list(islice(missing, limit + 1))
    if len(gone) > limit:
        return (
            f"More than {MAX_WITHDRAWN:.0%} of {known:,}"
            " foods are not in the file, or are refused now. Is it complete? No food was withdrawn. The foods in the"
            " file were imported."
        )
    set_tier(release, gone, None)
    release.withdrawn = len(gone)
    return None


def rank_by_popularity(release: CatalogRelease) -> None:
    """Set which foods of the source are popular in their language: those that most people have scanned."""
    ranks = live_foods(release.source).annotate(
        rank=Window(RowNumber(), partition_by="lang", order_by=[F("scans").desc(), "uuid"]),
        limit=Greatest(
            Value(float(MIN_POPULAR)),
            Window(Count("*"), partition_by="lang") * Value(POPULAR_SHARE),
            output_field=FloatField(),
        ),
    )
    rising, falling = [], []
    # A condition on the tier alone would be applied before foods are ranked.
    changes = ranks.filter(Q(tier=POPULAR) | Q(rank__lte=F("limit")))
    for serial, tier, rank, limit in changes.values_list("serial", "tier", "rank", "limit").iterator():
        if tier == REST:
            rising.append(serial)
        elif rank > limit:
            falling.append(serial)
    set_tier(release, rising, POPULAR)
    set_tier(release, falling, REST)


def set_tier(release: CatalogRelease, serials: list[int], tier: int | None) -> None:
    seen_by_clients = {"release": release, "updated_at": timezone.now()} if tier is None else {}
    for batch in in_batches(serials):
        with transaction.atomic():
            CatalogFood.objects.filter(serial__in=batch).update(tier=tier, **seen_by_clients)
            release.batches += 1
            release.save(update_fields=["batches"])


def count_spellings() -> None:
    """Count the words of generic and popular foods, and store what has changed."""
    counts: Counter[str] = Counter()
    for words in CatalogFood.objects.filter(tier__lte=POPULAR).values_list("words", flat=True).iterator():
        counts.update(filter(has_letters_only, words.split()))
    stale = []
    for row_id, word, foods in CatalogSpelling.objects.values_list("id", "word", "foods").iterator():
        if counts[word] == foods:
            del counts[word]
        else:
            stale.append(row_id)
    added = [(word, squeeze(word), foods) for word, foods in counts.items() if foods]
    for batch in in_batches(added):
        add_spellings(batch)
    for batch in in_batches(stale):
        CatalogSpelling.objects.filter(pk__in=batch).delete()
