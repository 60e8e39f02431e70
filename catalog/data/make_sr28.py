"""Make `sr28.zip` from the USDA's files: `python -m catalog.data.make_sr28 FOLDER`.

The ZIP archive has the files of SR28 in the USDA's own format, without the nutrients and columns that the import does
not read. The result is the same each time. The folder is the unpacked `sr28asc.zip` of the USDA, or a `sr28.zip`.
"""

import sys
import zipfile
from pathlib import Path

from catalog.sources.usda import ANALYZED, SR28_NUTRIENTS, Files, sr28_records

TARGET = Path(__file__).with_name("sr28.zip")
PUBLISHED = (2015, 9, 1, 0, 0, 0)


def make(files: Files, target: Path) -> None:
    wanted = {number for numbers in SR28_NUTRIENTS.values() for number in numbers}
    nutrients = [
        [ndb, nutrient, amount, points if nutrient in ANALYZED else ""]
        for ndb, nutrient, amount, points, *_ in sr28_records(files, "NUT_DATA.txt", 4)
        if nutrient in wanted
    ]
    portions = [record[:5] for record in sr28_records(files, "WEIGHT.txt", 5)]
    foods = [[*record[:3], "", *record[4:7]] for record in sr28_records(files, "FOOD_DES.txt", 7)]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, records in (("FOOD_DES.txt", foods), ("NUT_DATA.txt", nutrients), ("WEIGHT.txt", portions)):
            text = "".join("^".join(record) + "\r\n" for record in records)
            info = zipfile.ZipInfo(name, PUBLISHED)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text.encode("latin-1"), compresslevel=9)


if __name__ == "__main__":
    make(Files(Path(sys.argv[1])), TARGET)
