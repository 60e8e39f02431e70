"""An SVG bar chart of the energy of each day, for the admin. It has no script and no inline style."""

from datetime import date, datetime, timedelta

from django.utils.html import format_html, format_html_join

CHART_DAYS = 30
WIDTH, HEIGHT, STEP = 600, 120, 20
MAX_UTC_OFFSET = timedelta(hours=14)  # the largest offset of a time zone


def latest_day(now: datetime) -> date:
    """Return the latest day that has begun in any time zone. Entries have the calendar day of the client."""
    return (now + MAX_UTC_OFFSET).date()


def kcal_chart(days: list[dict]) -> str:
    """Return a chart with a bar for each day, the oldest first. A tooltip has the day and the amount."""
    highest = max(day["kcal"] for day in days)
    logged = [day for day in days if day["entries"]]
    if not logged:
        return format_html("<p>No entries from {} to {}.</p>", days[0]["date"], days[-1]["date"])
    caption = f"{len(logged)} of {len(days)} days have entries. Maximum: {highest:,.0f} kcal."
    return format_html(
        '<figure class="kcal"><svg role="img" viewBox="0 0 {} {}" width="{}" height="{}" aria-label="{}">{}</svg>'
        "<figcaption><span>{}</span><span>{}</span><span>{}</span></figcaption></figure>",
        *(WIDTH, HEIGHT, WIDTH, HEIGHT),
        caption,
        format_html_join("", BAR, (bar_values(position, day, highest) for position, day in enumerate(days))),
        days[0]["date"],
        caption,
        days[-1]["date"],
    )


BAR = (
    '<g><title>{}: {}</title><rect class="space" x="{}" y="0" width="{}" height="{}"/>'
    '<rect class="bar" x="{}" y="{}" width="{}" height="{}"/></g>'
)


def bar_values(position: int, day: dict, highest: float) -> tuple:
    """Return the values for `BAR`. It has an area of full height, so that the tooltip of a low bar can be reached."""
    height = round(HEIGHT * day["kcal"] / highest) if highest else 0
    amount = f"{day['kcal']:,.0f} kcal, {day['entries']} entries" if day["entries"] else "no entries"
    x, width = position * STEP, STEP - 4
    return day["date"], amount, x, width, HEIGHT, x, HEIGHT - height, width, height
