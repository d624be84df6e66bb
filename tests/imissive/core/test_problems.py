"""Problems are data: every reason has a sentence in both languages, and no logic reads one."""

import ast
import gettext
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import gettext_lazy

from imissive.core.errors import STATUS_OF_CODE
from imissive.core.problems import Reason, english, sentence

ROOT = Path(__file__).parents[3]
APPS = ("accounts", "imissive", "messaging", "otp", "webhooks")
CODE = sorted(
    path
    for app in APPS
    for path in (ROOT / app).rglob("*.py")
    if "migrations" not in path.parts and "examples" not in path.parts
)
for _path in CODE:
    if _path.name == "reasons.py":
        importlib.import_module(".".join(_path.relative_to(ROOT).with_suffix("").parts))
REASONS = [reason for room in Reason.__subclasses__() for reason in room]

_PARAMETER = re.compile(r"%\((\w+)\)s")
# The modules that format sentences, for the API, pages, mails and files.
EDGE = (
    r"imissive/wsgi\.py|imissive/core/(problems|errors)\.py|imissive/reference/\w+\.py|accounts/templatetags/shown\.py"
    r"|.*(views|forms|admin)\.py|(accounts/operators|messaging/admin)/\w+\.py"
    r"|messaging/importing/problems\.py|messaging/(campaigns/exports|contacts/imports)\.py"
    r"|messaging/log/resend\.py|messaging/dashboard/onboarding\.py"
    r"|messaging/sending/(estimate|representations)\.py|.*api\.py"
    r"|webhooks/(api/representations|dashboard/labels|endpoints/disable)\.py"
)


def _values(reason: Reason) -> dict[str, Any]:
    return dict.fromkeys(reason.parameters, "Value")


@pytest.fixture(scope="module")
def arabic() -> gettext.GNUTranslations:
    with (ROOT / "imissive/locale/ar/LC_MESSAGES/django.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


@pytest.mark.parametrize("reason", REASONS, ids=str)
def test_a_reason_has_its_english_and_its_arabic(
    reason: Reason, arabic: gettext.GNUTranslations
) -> None:
    assert reason.code in STATUS_OF_CODE or reason.code == ""
    assert set(_PARAMETER.findall(reason.text)) <= reason.parameters
    text = english(reason.problem(**_values(reason)))
    assert "%" not in text
    assert text.endswith(".") or not reason.code, "refusals of calls are whole sentences"
    if not re.search(r"[A-Za-z]", _PARAMETER.sub("", reason.text)):
        return  # nothing but parameters
    translated = arabic.gettext(reason.text)
    assert re.search("[\u0600-\u06ff]", translated), "no Arabic in the catalogue"
    assert set(_PARAMETER.findall(translated)) == set(_PARAMETER.findall(reason.text))
    with translation.override("ar"):
        assert sentence(reason.problem(**_values(reason))).startswith(translated.split("%")[0])


def test_reasons_are_unique() -> None:
    assert len(REASONS) > 100
    assert len(set(REASONS)) == len(REASONS)
    assert {reason.code for reason in REASONS} - {""} == set(STATUS_OF_CODE)


class _Sample(Reason):
    PARTS = "MESSAGE_TOO_LONG", "%(parts)s of %(most)s.", "parts", "most"
    SAME_CODE = "MESSAGE_TOO_LONG", "Another."


def test_a_problem_needs_the_parameters_of_its_reason() -> None:
    with pytest.raises(TypeError):
        _Sample.PARTS.problem(parts=1)
    with pytest.raises(TypeError):
        _Sample.SAME_CODE.problem(parts=1)
    assert len({_Sample.PARTS, _Sample.SAME_CODE}) == 2, "reasons with one code stay different"
    problem = _Sample.PARTS.problem("message", parts=12_000, most=10)
    assert (problem.code, problem.field) == ("MESSAGE_TOO_LONG", "message")
    assert english(problem) == "12,000 of 10."
    assert problem.at("text").kind == problem.kind
    assert problem.kind != _Sample.PARTS.problem(parts=11, most=10).kind


def test_a_label_is_in_the_language_of_the_sentence() -> None:
    problem = _Sample.PARTS.problem(parts=gettext_lazy("Approved"), most="MyShop")
    with translation.override("ar"):
        assert english(problem) == "Approved of MyShop."
        assert "\u2068MyShop\u2069" in sentence(problem), "Latin letters are isolated in Arabic"
        assert "Approved" not in sentence(problem)


# ------------------------------------------------------------------ the code itself


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in CODE:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def _by_name() -> dict[tuple[str, str], Reason]:
    return {(type(reason).__name__, reason.name): reason for reason in REASONS}


def _reason_of(node: ast.expr) -> tuple[str, str] | None:
    """Return the class and name in `SomeReason.NAME`."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return None


def test_every_use_gives_the_parameters_of_its_reason() -> None:
    """Without this test, a wrong parameter of a rare refusal would fail only when it is raised."""
    known, seen = _by_name(), 0
    for path, tree in _trees():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            named = None
            if isinstance(call.func, ast.Attribute) and call.func.attr == "problem":
                named = _reason_of(call.func.value)
            elif isinstance(call.func, ast.Name) and call.func.id == "ApiError" and call.args:
                named = _reason_of(call.args[0])
            if named not in known or any(each.arg is None for each in call.keywords):
                continue
            seen += 1
            given = {each.arg for each in call.keywords} - {"headers"}
            assert given == known[named].parameters, f"{path}:{call.lineno}"
    assert seen > 100


def test_sentences_are_formatted_at_the_edge_only() -> None:
    formatters = {"english", "sentence", "problem_json", "in_words"}
    inside = [
        f"{path}:{node.lineno}"
        for path, tree in _trees()
        if not re.fullmatch(EDGE, path)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in formatters
    ]
    assert inside == []


_READERS = {"startswith", "endswith", "find", "index", "count", "partition", "match"}
_READERS |= {"fullmatch", "search", "removeprefix", "removesuffix", "rpartition"}


def _is_sentence(node: ast.AST, errors: set[str]) -> bool:
    """Return whether it contains a formatted sentence, or the text of an exception."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name):
            if each.func.id in {"english", "sentence"}:
                return True
            first = each.args[0] if each.args else None
            if each.func.id in {"str", "repr"} and isinstance(first, ast.Name):
                return first.id in errors
        if isinstance(each, ast.Attribute) and each.attr in {"message", "text", "args", "messages"}:
            owner = each.value
            if isinstance(owner, ast.Name) and (owner.id in errors or owner.id == "problem"):
                return True
            if isinstance(owner, ast.Attribute) and owner.attr in {"reason", "problem"}:
                return True
    return False


def test_no_decision_depends_on_a_sentence() -> None:
    found = []
    for path, tree in _trees():
        handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
        errors = {handler.name for handler in handlers if handler.name}
        for node in ast.walk(tree):
            read: list[ast.AST] = []
            if isinstance(node, ast.Compare):
                read = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in _READERS:
                    read = [node.func.value, *node.args]
            elif isinstance(node, ast.Subscript):
                read = [node.slice]
            if isinstance(node, ast.expr) and any(_is_sentence(each, errors) for each in read):
                found.append(f"{path}:{node.lineno}")
    assert found == []
