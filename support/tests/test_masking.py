import html
import re
import unicodedata
from base64 import urlsafe_b64encode
from random import Random
from urllib.parse import quote, unquote
from uuid import UUID

import pytest

from devices.tokens import TOKEN
from support.masking import mask_secrets

RANDOM = Random(2028)
TOKENS = [
    f"{UUID(int=RANDOM.getrandbits(128), version=4)}.{urlsafe_b64encode(RANDOM.randbytes(32)).decode().rstrip('=')}"
    for _ in range(20)
]


def wrapped(width: int, line_break: str = "\n"):
    return lambda token: line_break.join(re.findall(f".{{1,{width}}}", token))


def secret(token: str) -> str:
    return token.partition(".")[2]


def grouped(size: int, separator: str = " "):
    return lambda token: separator.join(re.findall(f".{{1,{size}}}", secret(token)))


def device_id(token: str) -> str:
    return token.partition(".")[0]


def wide(token: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) for character in token)


SPELLINGS = {
    "whole": str,
    "bearer": "Bearer {}".format,
    "header": "Authorization: Bearer {}".format,
    "upper case": lambda token: f"{device_id(token).upper()}.{secret(token)}",
    "no hyphens": lambda token: f"{device_id(token).replace('-', '')}.{secret(token)}",
    "spaces": lambda token: token.replace(".", " . "),
    "line break before the dot": lambda token: token.replace(".", "\r\n."),
    "line break after the dot": lambda token: token.replace(".", ".\n"),
    "secret": secret,
    "secret in quotes": lambda token: f"“{secret(token)}”",
    "secret after a name": lambda token: f"token={secret(token)}&x=1",
    "secret after an underscore": lambda token: f"my_token_{secret(token)}",
    "without the dot": lambda token: token.replace(".", ""),
    "first half": lambda token: secret(token)[:22],
    "second half": lambda token: secret(token)[-22:],
    "20 characters": lambda token: secret(token)[10:30],
    "percent-encoded": lambda token: token.replace("-", "%2D").replace(".", "%2E").replace("_", "%5f"),
    "percent-encoded whole": lambda token: "".join(f"%{ord(character):02X}" for character in token),
    "percent-encoded twice": lambda token: quote(token.replace("-", "%2D").replace("_", "%5F")),
    "html": lambda token: token.replace("-", "&#45;").replace(".", "&period;").replace("_", "&lowbar;"),
    "html whole": lambda token: "".join(f"&#x{ord(character):x};" for character in token),
    "html twice": lambda token: token.replace("-", "&amp;#45;").replace("_", "&amp;lowbar;"),
    "zero-width spaces": "\u200b".join,
    "soft hyphens": lambda token: wrapped(5, "\u00ad")(token),
    "word joiners": lambda token: wrapped(7, "\u2060")(token),
    "variation selectors": lambda token: wrapped(3, "\ufe0f")(token),
    "escaped zero-width spaces": lambda token: wrapped(4, "&#8203;")(token),
    "full width": wide,
    "full width, zero width": lambda token: "\ufeff".join(wide(token)),
    "dashes": lambda token: token.replace("-", "–"),
    **{f"wrapped at {width}": wrapped(width) for width in (10, 13, 16, 20, 25, 37, 40, 64)},
    **{f"secret wrapped at {width}": lambda t, width=width: wrapped(width)(secret(t)) for width in (6, 9, 12, 15, 22)},
    "wrapped with spaces": lambda token: wrapped(30, "  \n    ")(token),
    "quoted": lambda token: "> " + wrapped(18, "\n> ")(token),
    **{f"groups of {size}": grouped(size) for size in (1, 4, 5, 8, 11)},
    **{
        f"groups of {size} after the device": lambda token, size=size: (
            f"Bearer {device_id(token)}.{grouped(size)(token)}"
        )
        for size in (1, 4, 8, 11)
    },
    **{
        f"groups of {size} with {separator!r}": grouped(size, separator)
        for size in (4, 8, 11)
        for separator in (", ", ":", " | ", ".", "/", "...", "…", '", "', "' + '", "`\n`")
    },
    "a word in between": lambda token: f"{secret(token)[:19]} and {secret(token)[20:39]}",
    "a sentence in between": lambda token: f"{secret(token)[:19]}. Then comes this: {secret(token)[20:39]}",
    "plus and slash": lambda token: token.replace("-", "+").replace("_", "/"),
    "json": lambda token: token.replace("-", "\\u002d").replace("_", "\\u005f"),
    "json whole": lambda token: "".join(f"\\u{ord(character):04x}" for character in token),
    "bytes whole": lambda token: "".join(f"\\x{ord(character):02X}" for character in token),
    "markdown": lambda token: token.replace("_", "\\_").replace("-", "\\-"),
    "quotes around underscores": lambda token: token.replace("_", "'_'"),
    "continued": lambda token: wrapped(18, "\\\n")(token),
}


def normal(text: str) -> str:
    """Return the base64url characters of a text, decoded and without invisible characters."""
    for _ in range(3):
        text = html.unescape(unquote(unicodedata.normalize("NFKC", text))).replace("–", "-")
    return re.sub("[^A-Za-z0-9_-]", "", text)


class TestASecret:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    @pytest.mark.parametrize("around", ["{}", "Her token is {}, she says.", "Lost it.\n{}\nThanks, Ada"])
    def test_is_masked_in_each_spelling(self, spelling, around):
        assert all(TOKEN.fullmatch(token) for token in TOKENS)

        for token in TOKENS:
            stored = normal(mask_secrets(around.format(SPELLINGS[spelling](token))))
            left = [stored[at : at + 12] for at in range(len(stored)) if stored[at : at + 12] in secret(token)]
            assert [run for run in left if len(run) == 12] == []

    def test_leaves_the_words_around_it(self):
        token = TOKENS[0]

        assert mask_secrets(f"He sent me {token}!") == "He sent me [token]!"
        assert mask_secrets(f"Bearer {token}") == "[token]"
        assert mask_secrets(f"“{secret(token)}” is what\nhe sent, and {TOKENS[1]} too") == (
            "“[token]” is what\nhe sent, and [token] too"
        )
        assert mask_secrets(f"Lost it.\n{token}\nThanks, Ada") == "Lost it.\n[token]\nThanks, Ada"


class TestAnOrdinaryReason:
    @pytest.mark.parametrize(
        "reason",
        [
            "She asked for it by mail: the phone was stolen on 2026-01-05 at 07:30.",
            "Row 0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11 has the wrong barcode, 4006381333931.",
            "0D9C3C5E-3F2B-4C41-9B0E-6A3B6A6F2C11\n0d9c3c5e3f2b4c419b0e6a3b6a6f2c11",
            "Device 0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11.\nYesterday it was seen last.",
            "See https://support.example.org/tickets/2026/how-to-restore-a-deleted-product?lang=en-GB#the-second-answer",
            "https://api.example.org/admin/devices/device/0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11/change/",
            "Ticket ORDER-2026-000123-AB, phone iPhone14 Pro, Samsung SM-G991B-EU-Samsung-Galaxy",
            "Donaudampfschifffahrtsgesellschaftskapitän mit Lebensmittelunverträglichkeit\nErnährungsberatung",
            "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz",
            "Pneumonoultramicroscopicsilicovolcanoconiosis",
            "PNEUMONOULTRAMICROSCOPICSILICOVOLCANOCONIOSIS",
            "lentokonesuihkuturbiinimoottoriapumekaanikkoaliupseerioppilas",
            "Превысокомногорассмотрительствующий пользователь попросил",
            "電話を失くしたので、新しいトークンをお願いします。ご確認ください",
            "ผู้ใช้ขอให้ลบรายการอาหารที่บันทึกผิดพลาด",
            "طلبت المستخدمة حذف المنتج لأن الباركود غير صحيح",
            "Sie bat darum:\u00ad ein\u00adge\u00adge\u00adben am 5.1., „Müsli“ – 250 g statt 25 g",
            "50%ab, 100%25 & more &amp; so on; R&D &copy; 3 < 4",
            "a family emoji 👨‍👩‍👧‍👦 and a heart ❤️",
            "e-mail from first.last-of-the-family@some-long-domain-name.example.org",
            "the setting NEW_ROWS_FIRST_DAY, the table food_entries, the class DeviceTokenAuthentication",
            "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "IMG_20260105_073012_HDR and Screenshot_2026-01-05-07-30-12-345_com",
            "Call 0049-170-123-45-67-890-12 back, or 00491701234567890123456",
            "line one\nline two\nline three of a note that\ngoes on and on\nuntil it ends",
            "1.\n2.\n3.\nFirst\nSecond\nThird\nFourth\nFifth\nSixth\nSeventh",
            "----------------------------------------",
            "________________________________________",
            "hahahahahahahahahahahahahaha, aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "Order RMA 4711-22, tracking number 1Z999AA10123456784, IBAN DE89 3704 0044 0532 0130 00.",
            "IBAN DE89370400440532013000, BIC COBADEFFXXX, VAT id DE123456789",
            "Vitamin B12 10 µg, D3 20mg, K2 5mg, B6 3mg, 1.5kg, 250ml, 12kJ/100g, 3x30g at 7h30",
            "Phone +49 (0)170 1234567, office +1-202-555-0143 ext. 12, 0171/2345678",
            "See https://www.youtube.com/watch?v=dQw4w9WgXcQ at 1m30s",
            "E-mail from Anna.Mueller-Luedenscheidt1984@gmx.de to support+CountOnMe@example.org",
            "On 5.1.2026 at 07:30, 2026-01-05T07:30:12Z, 5/1/26 7:30 PM, Jan 5th, 3rd of Feb.",
            "Pixel 8 Pro, GP4BC, SM-S918B/DS, iPad (A2602), MQ9U3ZD/A, Xperia XQ-DQ54, Redmi Note 12S",
            "Zażółć gęślą jaźń, proszę o usunięcie źle wpisanego produktu z 5.01.2026 r.",
            "Kullanıcı yanlış ürünün silinmesini istedi; İstanbul'daki müşteri, 12 Şubat 2026",
            "お客様のiPhone 14 Proが2026年1月5日に盗まれたため、トークンを無効にしました。",
            "Device 0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11. It was lost, said Ada in the McDonald's on 5 May.",
            "I e-mailed a PDF, a JPG & an XLSX (Q3 2026, H1, FY25), see A4, B5, and C-3PO.",
            "a) 1 b) 2 c) 3 d) 4 e) 5 f) 6",
            "T. S. Eliot, J. R. R. Tolkien, U.S.A., e. g., i. e.",
            "commit ca9344e, af59cb1 and fc268a7; md5 9e107d9d372bb6826bd81d3542a419d6",
            "Error E1234 in DeviceTokenAuthentication.authenticate_header(), HTTP 401, X-Request-ID: 7f3a",
            "Wi-Fi MAC 00:1B:44:11:3A:B7 and 00:1b:44:11:3a:b7, IP 192.168.0.12, fe80::1ff:fe23:4567:890a",
            "EAN 4006381333931, GTIN 00012345678905, ISBN 978-3-16-148410-0, LOT L2405A12, MHD 05/26",
            "Flight LH2034, seat 14C, booking X7K2QP, customer no. K-2026/0815-AB, ticket #CS-98421",
            "Serial C02XK1ZQJGH5 of her MacBook, IMEI 35 209900 176148 1",
            "Er heißt Müller-Lüdenscheidt, wohnt in der Straße des 17. Juni 135, 10623 Berlin",
            "YouTube, PayPal, eBay, LinkedIn, GmbH & Co. KG, PhD",
            '[{"changed": 1}]',
            "",
        ],
    )
    def test_stays_as_it_was_typed(self, reason):
        assert mask_secrets(reason) == reason
