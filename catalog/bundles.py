"""Bundles: the foods of a source in one gzipped file, for apps that search offline.

Each import makes one. It is in the database, so that all machines serve the same bundle, and backups contain it. It is
stored and read in parts, so that no request takes much memory or keeps a transaction open while a client is slow.
"""

import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from catalog.models import CatalogBundle, CatalogBundlePart, CatalogFood, CatalogRelease
from catalog.reading import load
from catalog.sources import OFF, SOURCES
from countonme.api.compression import GZIP_FORMAT
from countonme.api.renderers import as_json
from countonme.db.bulk import in_batches

PART = 256 * 1024  # bytes
BATCH = 500  # foods in memory
KEPT = 2  # bundles of each source: a download of the one before can end
IN_THE_FIRST_LINE = ("source", "license", "attribution", "withdrawn")  # the same for all foods


def make_bundle(release: CatalogRelease) -> None:
    """Make the bundle of the release's source, and publish it if it differs from the one before."""
    CatalogBundle.objects.filter(source=release.source, published_at=None).delete()  # of an import that was stopped
    ids = best_foods(release.source)
    if not ids:
        return
    bundle = CatalogBundle.objects.create(source=release.source, release=release, count=len(ids))
    digest = blake2b(digest_size=16)
    for data in compress(lines_of(bundle, ids, digest)):
        CatalogBundlePart.objects.create(bundle=bundle, number=bundle.parts, data=data)
        bundle.parts, bundle.size = bundle.parts + 1, bundle.size + len(data)
    bundle.digest = digest.hexdigest()
    with transaction.atomic():
        published = published_bundles(release.source)
        if [bundle.digest] == [each.digest for each in published[:1]]:
            bundle.delete()
            return
        bundle.published_at = timezone.now()
        bundle.save()
        for older in published[KEPT:]:
            older.delete()


def best_foods(source: str) -> list[UUID]:
    """Return the ids of all foods of the source, or of the CATALOG_BUNDLE_SIZE best of Open Food Facts."""
    foods = CatalogFood.objects.filter(source=source, tier__isnull=False).order_by("tier", "-weight", "uuid")
    limit = settings.CATALOG_BUNDLE_SIZE if source == OFF.name else None
    return list(foods.values_list("uuid", flat=True)[:limit])


def lines_of(bundle: CatalogBundle, ids: list[UUID], digest) -> Iterator[bytes]:
    """Yield the first line, which describes the bundle, and a line for each food. Add what they say to the digest."""
    description = describe(bundle)
    yield as_json(description) + b"\n"
    digest.update(as_json(description | {"release": None}))
    for batch in in_batches(ids, BATCH):
        for food in load([*map(str, batch)]):
            for name in IN_THE_FIRST_LINE:
                del food[name]
            line = as_json(food) + b"\n"
            digest.update(line)
            yield line


def compress(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the gzipped lines in parts of about PART bytes."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, GZIP_FORMAT)
    buffer = bytearray()
    for line in lines:
        buffer += compressor.compress(line)
        if len(buffer) >= PART:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer + compressor.flush())


def describe(bundle: CatalogBundle) -> dict:
    source = SOURCES[bundle.source]
    return {
        "source": bundle.source,
        "release": bundle.release_id,
        "license": source.license,
        "attribution": source.attribution,
        "count": bundle.count,
    }


def published_bundles(source: str) -> QuerySet:
    """Return the bundles of the source that can be downloaded, the latest first."""
    return CatalogBundle.objects.filter(source=source, published_at__isnull=False).order_by("-pk")


def parts_of(bundle: CatalogBundle) -> Iterator[bytes]:
    """Yield the file. Each part is read when the client has received the one before."""
    for number in range(bundle.parts):
        yield bytes(CatalogBundlePart.objects.values_list("data", flat=True).get(bundle=bundle, number=number))
