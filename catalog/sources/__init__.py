"""Where foods come from, and what their licenses require to show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    name: str
    license: str  # an SPDX identifier
    attribution: str
    url: str

    def url_of(self, source_id: str) -> str:
        """Return the page that describes a food, or the source's page if foods have none."""
        return self.url


class OpenFoodFacts(Source):
    def url_of(self, source_id: str) -> str:
        return f"{self.url}/product/{source_id}"


USDA = Source(
    "usda",
    "CC0-1.0",
    "U.S. Department of Agriculture, Agricultural Research Service. FoodData Central.",
    "https://fdc.nal.usda.gov",
)
OFF = OpenFoodFacts(
    "off",
    "ODbL-1.0",
    "Contains information from Open Food Facts, made available under the Open Database License (ODbL).",
    "https://world.openfoodfacts.org",
)
SOURCES = {source.name: source for source in (USDA, OFF)}
