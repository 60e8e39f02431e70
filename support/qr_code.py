import segno
from django.utils.safestring import SafeString, mark_safe


def qr_code(text: str) -> SafeString:
    """Return a QR code as an SVG element without scripts and styles. The text itself is not part of it."""
    return mark_safe(segno.make_qr(text).svg_inline(omitsize=True, light="#fff", svgclass="qr-code"))  # noqa: S308
