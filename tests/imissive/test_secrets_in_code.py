"""No secret goes into a message of Django's: its storage is a cookie."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("accounts", "imissive", "messaging", "otp", "webhooks")
LEVELS = {"debug", "info", "success", "warning", "error", "add_message"}
SECRET = re.compile(r"password|secret|token|^code$", re.IGNORECASE)


def secrets_in_messages(source: str) -> list[str]:
    """Return the secret-looking names that calls of `messages.…` have among their arguments."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "messages"
        ):
            continue
        for below in ast.walk(node):
            if isinstance(below, ast.Name):
                name = below.id
            elif isinstance(below, ast.Attribute):
                name = below.attr
            elif isinstance(below, ast.Dict):
                name = " ".join(str(getattr(key, "value", "")) for key in below.keys)
            else:
                continue
            if SECRET.search(name):
                found.append(name)
    return found


def test_the_search_finds_one() -> None:
    source = 'messages.warning(request, text % {"system_id": name, "password": word})'
    assert secrets_in_messages(source) == ["system_id password"]
    assert secrets_in_messages("messages.success(request, key.secret)") == ["secret"]


def test_no_message_has_a_secret() -> None:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(files) > 300
    found = {str(path): secrets_in_messages(path.read_text()) for path in files}
    assert {path: names for path, names in found.items() if names} == {}
