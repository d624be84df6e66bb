"""The Arabic catalogue: complete, and compiled from what the repository holds."""

import ast
import gettext
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "imissive/locale/ar/LC_MESSAGES"
_ENTRY = re.compile(r'^(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) (".*")$', re.MULTILINE)
_HOLE = re.compile(r"%\(\w+\)[sd]")


def _entries() -> list[dict[str, str]]:
    """Each entry of the .po by its keywords (it is written without wrapped lines)."""
    text = (FOLDER / "django.po").read_text(encoding="utf-8")
    blocks = text.split("\n\n")[1:]
    return [
        {key: ast.literal_eval(value) for key, value in _ENTRY.findall(block)} for block in blocks
    ]


def test_everything_is_translated() -> None:
    text = (FOLDER / "django.po").read_text(encoding="utf-8")
    assert "fuzzy" not in text
    empty = [e["msgid"] for e in _entries() if not all(v for k, v in e.items() if "msgstr" in k)]
    assert empty == []


def test_every_translation_has_the_same_holes() -> None:
    for entry in _entries():
        if "msgid_plural" not in entry:
            assert set(_HOLE.findall(entry["msgid"])) == set(_HOLE.findall(entry["msgstr"]))


def test_the_compiled_catalogue_is_of_this_text() -> None:
    with (FOLDER / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for entry in _entries():
        if "msgid_plural" in entry:
            translated = compiled.ngettext(entry["msgid"], entry["msgid_plural"], 5)
            assert translated == entry["msgstr[3]"]
        elif "msgctxt" in entry:
            assert compiled.pgettext(entry["msgctxt"], entry["msgid"]) == entry["msgstr"]
        else:
            assert compiled.gettext(entry["msgid"]) == entry["msgstr"]
