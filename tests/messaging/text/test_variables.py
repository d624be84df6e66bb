"""Variables in texts: their syntax, filling them, and their names from columns' headings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.text.variables import (
    MAX_NAME,
    fill,
    is_name,
    missing,
    name_of,
    variables_of,
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Hello", []),
        ("Hello {name}", ["name"]),
        ("{a}{b} and {a} again", ["a", "b"]),
        ("مرحبًا {الاسم}، طلبك {order_id} جاهز", ["الاسم", "order_id"]),
        ("{first-name} {_x} {é1}", ["first-name", "_x", "é1"]),
        ("{} { name } {name {1st} {a b} {a.b} name} {-x}", []),
        ("{{name}}", ["name"]),
        ("{" + "n" * MAX_NAME + "}", ["n" * MAX_NAME]),
        ("{" + "n" * (MAX_NAME + 1) + "}", []),
    ],
)
def test_variables_of(text: str, names: list[str]) -> None:
    assert variables_of(text) == names


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Hello {name}", "Hello Sara"),
        ("{name}{name}", "SaraSara"),
        ("{name} {unknown}", "Sara {unknown}"),
        ("{{name}} {", "{Sara} {"),
        ("{braces}", "{name}"),
        ("{Name}", "{Name}"),
        ("{path}", r"\1 \g<0>"),
    ],
)
def test_filling(text: str, filled: str) -> None:
    values = {"name": "Sara", "braces": "{name}", "path": r"\1 \g<0>"}
    assert fill(text, values) == filled


def test_missing_values() -> None:
    assert missing("{a} {b} {c} {a}", {"a": "1", "b": " "}) == ["b", "c"]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("name", "name"),
        (" First Name ", "first_name"),
        ("Order No. (internal)", "order_no_internal"),
        ("اسم العميل", "اسم_العميل"),
        ("2nd", "nd"),
        ("N" * 60, "n" * MAX_NAME),
        ("???", ""),
        ("", ""),
        ("12", ""),
    ],
)
def test_the_name_of_a_column(heading: str, name: str) -> None:
    assert name_of(heading) == name


@given(st.text())
def test_a_column_s_name_is_a_valid_variable_name(heading: str) -> None:
    name = name_of(heading)
    assert name == "" or is_name(name)
    if name:
        assert fill("{" + name + "}", {name: "x"}) == "x"


@given(st.text(alphabet="{}ab_ 1", max_size=20), st.text(max_size=5))
def test_filling_replaces_the_variables_and_nothing_else(text: str, value: str) -> None:
    names = variables_of(text)
    assert fill(text, {}) == text
    expected = text
    for name in names:
        expected = expected.replace("{" + name + "}", "\0" + name + "\0")
    for name in names:
        expected = expected.replace("\0" + name + "\0", value)
    assert fill(text, dict.fromkeys(names, value)) == expected
