"""Turn PDF, notebooks and office documents into text.  Runs in a worker process under limits.

Each page, cell, slide or sheet begins with a line that names it, so that a citation can be found
again in the original.
"""

from __future__ import annotations

import json
import os
import re
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from xml.etree import ElementTree as ET

from rlmd.errors import BadArgument, TooLarge

SUFFIXES = (".pdf", ".ipynb", ".docx", ".pptx", ".xlsx", ".odt", ".odp", ".ods")
MOST_MEMORY_BYTES = 2 << 30
MOST_PART_BYTES = 128 << 20
_SLIDE = re.compile(r"ppt/slides/slide(\d+)\.xml")
_SHEET = re.compile(r"xl/worksheets/sheet(\d+)\.xml")


def is_paper(path: str) -> bool:
    """Return whether the name says that it is a document which has to be turned into text."""
    return path.lower().endswith(SUFFIXES)


def text_of(path: str, most_bytes: int, *, memory_bytes: int | None = MOST_MEMORY_BYTES) -> bytes:
    """Return the text of the document at *path* as UTF-8; the process may then never have more memory.

    Raises BadArgument for one that cannot be read, or whose library is not installed, and TooLarge
    for more than *most_bytes* of text.
    """
    if memory_bytes is not None:
        with suppress(ValueError, OSError):  # a lower limit holds already
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    pieces: list[str] = []
    room = most_bytes
    try:
        for piece in _READERS[os.path.splitext(path)[1].lower()](path):
            pieces.append(piece)
            room -= len(piece)
            if room < 0:
                break
    except (BadArgument, TooLarge):
        raise
    except ImportError as missing:
        raise BadArgument(f"{path} needs a library to be read", "Install rlmd[documents].") from missing
    except Exception as broken:  # parsers of foreign formats raise whatever they like
        raise BadArgument(f"{path} cannot be read: {type(broken).__name__}", "It may be damaged.") from broken
    if room < 0:
        raise TooLarge(f"{path} holds more than {most_bytes} bytes of text.", "Split it.")
    return "".join(pieces).encode("utf-8", "replace").replace(b"\0", b"")


def _pdf(path: str) -> Iterator[str]:
    from pypdf import PdfReader  # noqa: PLC0415  # an extra, and heavy

    reader = PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise BadArgument(f"{path} is encrypted", "Save a copy without a password.")
    for number, page in enumerate(reader.pages, 1):
        yield f"[page {number}]\n{page.extract_text()}\n"


def _notebook(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    for number, cell in enumerate(cells, 1):
        yield f"[cell {number}: {cell['cell_type']}]\n{_joined(cell['source'])}\n"
        for output in cell.get("outputs", ()):
            plain = output.get("text") or output.get("data", {}).get("text/plain") or output.get("traceback")
            if plain:
                yield f"[output of cell {number}]\n{_joined(plain)}\n"


def _joined(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _word(path: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as parts:
        yield from map(_line, _elements(parts, "word/document.xml", "p"))


def _open_document(path: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as parts:
        for block in _elements(parts, "content.xml", "p", "h"):
            yield "".join(block.itertext()) + "\n"


def _slides(path: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as parts:
        for number, name in _numbered(parts, _SLIDE):
            yield f"[slide {number}]\n"
            yield from map(_line, _elements(parts, name, "p"))


def _sheets(path: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as parts:
        shared: list[str] = []
        if "xl/sharedStrings.xml" in parts.namelist():
            shared = [_line(held)[:-1] for held in _elements(parts, "xl/sharedStrings.xml", "si")]
        for number, name in _numbered(parts, _SHEET):
            yield f"[sheet {number}]\n"
            for row in _elements(parts, name, "row"):
                yield "\t".join(_cell(cell, shared) for cell in row) + "\n"


def _cell(cell: ET.Element, shared: list[str]) -> str:
    told = "".join(each.text or "" for each in cell.iter() if _local(each) in {"v", "t"})
    return shared[int(told)] if cell.get("t") == "s" and told else told


def _numbered(parts: zipfile.ZipFile, names: re.Pattern[str]) -> list[tuple[int, str]]:
    return sorted((int(found[1]), found[0]) for found in map(names.fullmatch, parts.namelist()) if found)


def _line(paragraph: ET.Element) -> str:
    marks = {"tab": "\t", "br": "\n"}
    told = (
        each.text or "" if _local(each) == "t" else marks.get(_local(each), "") for each in paragraph.iter()
    )
    return "".join(told) + "\n"


def _elements(parts: zipfile.ZipFile, name: str, *wanted: str) -> Iterator[ET.Element]:
    """Yield the elements of these local names as they end, inner ones first, and forget them."""
    if parts.getinfo(name).file_size > MOST_PART_BYTES:
        raise TooLarge(f"{name} is larger than {MOST_PART_BYTES} bytes.", "Split the document.")
    with parts.open(name) as part:
        for _, element in ET.iterparse(part):  # noqa: S314  # expat bounds entities, we memory
            if _local(element) in wanted:
                yield element
                element.clear()


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


_READERS: dict[str, Callable[[str], Iterator[str]]] = {
    ".pdf": _pdf,
    ".ipynb": _notebook,
    ".docx": _word,
    ".pptx": _slides,
    ".xlsx": _sheets,
    ".odt": _open_document,
    ".odp": _open_document,
    ".ods": _open_document,
}
