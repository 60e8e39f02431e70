"""The last days of a device as a picture: SVG, made here, without a script or a style of its own."""

from datetime import date, datetime, timedelta

from django.utils.html import format_html, format_html_join

CHARTED = 30  # days
WIDTH, HEIGHT, STEP = 600, 120, 20
FURTHEST_AHEAD = timedelta(hours=14)  # of UTC, where a day begins first


def latest_day(now: datetime) -> date:
    """Return the latest calendar day that has begun somewhere: a phone counts its own days."""
    return (now + FURTHEST_AHEAD).date()


def kcal_chart(days: list[dict]) -> str:
    """Return a bar for each day, the oldest first, as high as its kcal; a bar says its day and amount."""
    most = max(day["kcal"] for day in days)
    logged = [day for day in days if day["entries"]]
    if not logged:
        return format_html("<p>No entries from {} to {}.</p>", days[0]["date"], days[-1]["date"])
    said = f"{len(logged)} of {len(days)} days have entries. Maximum: {most:,.0f} kcal."
    return format_html(
        '<figure class="kcal"><svg role="img" viewBox="0 0 {} {}" width="{}" height="{}" aria-label="{}">{}</svg>'
        "<figcaption><span>{}</span><span>{}</span><span>{}</span></figcaption></figure>",
        *(WIDTH, HEIGHT, WIDTH, HEIGHT),
        said,
        format_html_join("", BAR, (bar(place, day, most) for place, day in enumerate(days))),
        days[0]["date"],
        said,
        days[-1]["date"],
    )


BAR = (
    '<g><title>{}: {}</title><rect class="space" x="{}" y="0" width="{}" height="{}"/>'
    '<rect class="bar" x="{}" y="{}" width="{}" height="{}"/></g>'
)


def bar(place: int, day: dict, most: float) -> tuple:
    """Return what `BAR` says of a day: a bar, and behind it the whole height, so that a small one is found too."""
    height = round(HEIGHT * day["kcal"] / most) if most else 0
    amount = f"{day['kcal']:,.0f} kcal, {day['entries']} entries" if day["entries"] else "no entries"
    x, width = place * STEP, STEP - 4
    return day["date"], amount, x, width, HEIGHT, x, HEIGHT - height, width, height
