"""What the checks need to know of a Markdown file: its code blocks, its headings and its links."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^( *)(`{3,})\s*(.*)$")
LINK = re.compile(r"(?<!\\)\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$")
CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
NEEDS = re.compile(r"^<!-- check: (.+) -->$")


@dataclass
class Block:
    """A fenced block: its language, the marks behind it, its text and the line it begins in."""

    language: str
    marks: dict
    text: str
    line: int


@dataclass
class Page:
    path: Path
    blocks: list = field(default_factory=list)
    anchors: set = field(default_factory=set)
    links: list = field(default_factory=list)
    needs: list = field(default_factory=list)


def marks(info):
    """`sh background` is {"background": ""}, `python file=send.py` is {"file": "send.py"}."""
    words = shlex.split(info)
    pairs = (word.partition("=") for word in words[1:])
    return (words[0] if words else ""), {name: value for name, _, value in pairs}


def slug(heading):
    """The anchor that GitHub and mdBook make of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def read(path):
    page = Page(path)
    fence, taken = None, {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = FENCE.match(line)
        if fence:
            indent, ticks, block = fence
            if found and len(found[2]) >= len(ticks) and not found[3]:
                block.text = "".join(f"{text.removeprefix(indent)}\n" for text in block.text)
                page.blocks.append(block)
                fence = None
            else:
                block.text.append(line)
            continue
        if found:
            language, given = marks(found[3])
            fence = (found[1], found[2], Block(language, given, [], number))
            continue
        if needs := NEEDS.match(line):
            page.needs += needs[1].split()
        if heading := re.match(r"^#{1,6} +(.+?)(?: +#+)?$", line):
            anchor = slug(heading[1])
            again = taken.get(anchor, 0)
            taken[anchor] = again + 1
            page.anchors.add(f"{anchor}-{again}" if again else anchor)
        plain = CODE_SPAN.sub("", line)
        page.links += [(number, link[1]) for link in LINK.finditer(plain)]
        if reference := REFERENCE.match(plain):
            page.links.append((number, reference[1]))
    if fence:
        raise SystemExit(f"check-docs: {path}: the block that begins in line {fence[2].line} does not end")
    return page
