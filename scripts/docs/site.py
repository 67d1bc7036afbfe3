"""Every link of the built book leads to a file that is there, and to a place in it that is there.

    site.py FOLDER
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    """The links of a page, and the places that links may name."""

    def __init__(self):
        super().__init__()
        self.links, self.places = [], set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places |= {given[name] for name in ("id", "name") if given.get(name)}
        # What a page loads by itself counts as well.
        self.links += [given[name] for name in ("href", "src") if given.get(name)]


def read(path):
    page = Links()
    page.feed(path.read_text())
    return page


def main():
    folder = Path(sys.argv[1]).resolve()
    pages = {path: read(path) for path in sorted(folder.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        # Made for addresses that are not there: its links are as from the root.
        if path.name in ("404.html", "toc.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                broken.append(f"{path.relative_to(folder)}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                broken.append(f"{path.relative_to(folder)}: {link} leads to no place of that page")
    if len(pages) < 10:
        broken.append(f"the book has {len(pages)} pages only")
    for reason in broken:
        print(f"book: {reason}", file=sys.stderr)
    print(f"{sum(len(page.links) for page in pages.values())} links of {len(pages)} pages lead somewhere" if not broken else
          f"{len(broken)} links are broken")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
