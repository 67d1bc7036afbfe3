"""Draws bar charts as SVG: few lines, no library, and the same result from the same figures."""

from html import escape

WIDTH, LABELS, BAR, GAP, TOP = 760, 250, 18, 8, 44
COLOURS = {"mysql": "#3b6ea5", "mariadb": "#c0843c"}
NAMES = {"mysql": "MySQL", "mariadb": "MariaDB"}


def bars(title, rows):
    """`rows` is a list of (label, {engine: number}); the longest bar fills the width."""
    engines = [engine for engine in COLOURS if any(engine in values for _, values in rows)]
    largest = max((number for _, values in rows for number in values.values()), default=1) or 1
    step = len(engines) * BAR + GAP
    height = TOP + len(rows) * step + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="18" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for place, engine in enumerate(engines):
        x = LABELS + place * 100
        parts.append(f'<rect x="{x}" y="26" width="10" height="10" fill="{COLOURS[engine]}"/>')
        parts.append(f'<text x="{x + 14}" y="35">{NAMES[engine]}</text>')
    for row, (label, values) in enumerate(rows):
        y = TOP + row * step
        parts.append(f'<text x="8" y="{y + len(engines) * BAR / 2 + 4:.0f}">{escape(label)}</text>')
        for place, engine in enumerate(engines):
            if engine not in values:
                continue
            number = values[engine]
            length = max(1, (WIDTH - LABELS - 90) * number / largest)
            top = y + place * BAR
            parts.append(f'<rect x="{LABELS}" y="{top}" width="{length:.0f}" height="{BAR - 3}" '
                         f'fill="{COLOURS[engine]}"/>')
            parts.append(f'<text x="{LABELS + length + 5:.0f}" y="{top + 12}">{number:,.0f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
