"""Links: every file and heading that a page points at is there, and every page of the book stands in its contents."""

from pathlib import Path
from urllib.parse import unquote

OUTSIDE = ("http://", "https://", "mailto:")


def check(root, pages):
    """What is wrong, a sentence each."""
    by_path = {page.path.resolve(): page for page in pages}
    wrong = []
    for page in pages:
        for line, link in page.links:
            if link.startswith(OUTSIDE):
                continue
            reason = broken(root, by_path, page, link)
            if reason:
                wrong.append(f"{page.path.relative_to(root)}, line {line}: {link} {reason}")
    return wrong + check_contents(root / "docs", pages)


def broken(root, by_path, page, link):
    target, _, anchor = unquote(link).partition("#")
    path = (page.path.parent / target).resolve() if target else page.path.resolve()
    if not path.exists():
        return "leads to no file"
    if not path.is_relative_to(root):
        return "leads out of the repository"
    book = root / "docs"
    if page.path.is_relative_to(book) and not path.is_relative_to(book):
        return "leads out of the book, which is read without the repository: name the file instead"
    if anchor and path in by_path and anchor not in by_path[path].anchors:
        return f"leads to no heading of {path.relative_to(root)}"
    return None


def check_contents(book, pages):
    contents = next((page for page in pages if page.path == book / "SUMMARY.md"), None)
    if contents is None:
        return ["docs/SUMMARY.md is missing"]
    listed = [Path(link) for _, link in contents.links]
    there = {page.path.relative_to(book) for page in pages if page.path.is_relative_to(book)} - {Path("SUMMARY.md")}
    wrong = [f"docs/{path} does not stand in docs/SUMMARY.md" for path in sorted(there - set(listed))]
    return wrong + [f"docs/SUMMARY.md has {path} twice" for path in sorted({path for path in listed if listed.count(path) > 1})]
