"""Make dumps in the formats of Open Food Facts, with any number of foods, from the words of the sample and of SR28.

A name has the length and some of the words of a name in the sample. All its other words are drawn from a vocabulary:
the words of the sample and of SR28, the most frequent first, and then made words. A word's frequency is proportional
to 1 / (rank + 5). All other columns are those of a product of the sample.
"""

import gzip
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from catalog.food import Refused
from catalog.sources import off
from catalog.words import words_of
from tests.harness.processes import ROOT

SAMPLES = ROOT / "catalog/tests/data"
SR28 = ROOT / "catalog/data/sr28.zip"
FIRST_CODE = 200_000_000_000  # 12 digits, without the check digit
VOCABULARY, BRANDS = 320_000, 40_000
OFFSET = 5  # of the rank, in the frequency
OF_SAMPLE = 50  # one of the sample's words counts as this many of SR28's, which has more names
KEPT_WORDS = 0.25  # the share of a name's words that come from the sample's name
OWN_BRANDS = 0.25  # the share of brands that come from the sample's product
SCANNED = 0.3  # the share of products that somebody has scanned
AT_ONCE = 1_000  # rows
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class Product(NamedTuple):
    """What the rows of a dump have of their own."""

    code: str
    name: str
    brands: str
    scans: int | None


class Maker:
    """Makes products, the same ones for each seed."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.header, *lines = sample("off.tsv.gz")
        rows = list(off.csv_documents(lines, self.columns))
        documents = list(off.json_documents(sample("off.jsonl.gz")))
        self.lines = [line for line, row in zip(lines, rows, strict=True) if is_accepted(row)]
        self.documents = list(filter(is_accepted, documents))
        self.names = [
            (name, one.get("brands") or "")
            for one in (*rows, *documents)
            if WORD.search(name := one.get("product_name") or "")
        ]
        words = (word.lower() for texts in self.names for text in texts for word in WORD.findall(text))
        counts = Counter({word: number * OF_SAMPLE for word, number in Counter(words).items()})
        counts.update(word.lower() for name in sr28_names() for word in WORD.findall(name))
        self.vocabulary = self.with_made_words([word for word, _ in counts.most_common()])
        own = [brand for brand, _ in Counter(brand for _, brand in self.names if brand).most_common()]
        self.brands = own + [" ".join(self.random.sample(self.vocabulary, 2)).title() for _ in range(BRANDS - len(own))]
        self.words, self.brand_names = self.draw(self.vocabulary), self.draw(self.brands)
        self.used: set[str] = set()

    @property
    def columns(self) -> list[str]:
        return self.header.decode().rstrip("\n").split("\t")

    def with_made_words(self, words: list[str]) -> list[str]:
        """Return the words, and others that begin like one of them and end like another one."""
        vocabulary = dict.fromkeys(words)
        long = [word for word in words if len(word) > 3 and word.isalpha()]
        while len(vocabulary) < VOCABULARY:
            start, end = self.random.choice(long), self.random.choice(long)
            vocabulary.setdefault(start[: self.random.randrange(2, 6)] + end[self.random.randrange(1, 4) :].lower())
        return list(vocabulary)

    def draw(self, values: list[str]) -> Iterator[str]:
        weights = [1 / (rank + OFFSET) for rank in range(1, len(values) + 1)]
        total, cumulative = 0.0, []
        for weight in weights:
            total += weight
            cumulative.append(total)
        while True:
            yield from self.random.choices(values, cum_weights=cumulative, k=100 * AT_ONCE)

    def product(self, number: int) -> Product:
        name, brands = self.random.choice(self.names)
        words = [word if self.random.random() < KEPT_WORDS else next(self.words) for word in WORD.findall(name)]
        brand = brands if self.random.random() < OWN_BRANDS else next(self.brand_names)
        self.used.update(words, WORD.findall(brand))
        scans = int(min(self.random.paretovariate(0.9), 10**6)) if self.random.random() < SCANNED else None
        return Product(with_check_digit(FIRST_CODE + number), " ".join(words), brand, scans)

    def distinct_words(self) -> int:
        """Return how many words were used, as the search stores them."""
        return len({word for text in self.used for word in words_of(text)})

    def csv(self, first: int, count: int) -> Iterator[bytes]:
        """Yield the lines of the CSV."""
        yield self.header
        own = ("code", "product_name", "brands", "unique_scans_n")  # in this order in the file
        templates = [
            "\t".join(
                "%s" if name in own else value.replace("%", "%%")
                for name, value in zip(self.columns, line.decode().split("\t"), strict=True)
            )
            for line in self.lines
        ]
        for number in range(first, first + count):
            product = self.product(number)
            scans = "" if product.scans is None else product.scans
            row = self.random.choice(templates) % (product.code, product.name, product.brands, scans)
            yield row.encode()

    def jsonl(self, first: int, count: int) -> Iterator[bytes]:
        """Yield the lines of the JSONL."""
        for number in range(first, first + count):
            document = self.random.choice(self.documents)
            product = self.product(number)
            changed = {"product_name": product.name, "brands": product.brands, "unique_scans_n": product.scans}
            yield orjson.dumps(document | {"_id": product.code, "code": product.code} | changed) + b"\n"


def sample(name: str) -> list[bytes]:
    return gzip.decompress((SAMPLES / name).read_bytes()).splitlines(keepends=True)


def sr28_names() -> Iterator[str]:
    with zipfile.ZipFile(SR28) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("FOOD_DES.txt"))
        for line in archive.read(name).decode("latin-1").splitlines():
            yield line.split("^")[2].strip("~")


def is_accepted(product: dict) -> bool:
    try:
        off.food_of(product, frozenset(), frozenset())
    except Refused:
        return False
    return True


def with_check_digit(number: int) -> str:
    """Return a GTIN-13 from its first twelve digits."""
    digits = f"{number:012}"
    total = sum(map(int, digits[::2])) + 3 * sum(map(int, digits[1::2]))
    return f"{digits}{-total % 10}"


def write(path: Path, lines: Iterator[bytes], progress: Callable[[int], None] = lambda written: None) -> int:
    """Write a gzipped dump. Return its uncompressed size in bytes."""
    size = written = 0
    unfinished = path.with_suffix(".part")
    with gzip.open(unfinished, "wb", compresslevel=1) as file:
        for line in lines:
            size += file.write(line)
            written += 1
            if written % (100 * AT_ONCE) == 0:
                progress(written)
    unfinished.rename(path)
    return size
