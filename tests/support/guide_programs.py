"""Run the guide's examples as a customer would: one program for each call and language.

The programs of one language run one after the other in one process of its own (a shell, a Python, a
Node, a JVM, a binary of Go), so that a hundred of them take seconds.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imissive.guide.languages import LANGUAGES, Language

_MARK = "=== "
Answer = tuple[int, Any]


@dataclass(frozen=True)
class Program:
    """An example's code with real values in place of the printed ones."""

    name: str
    code: str


def language(slug: str) -> Language:
    """Return the guide's language with that slug."""
    return next(language for language in LANGUAGES if language.slug == slug)


def run(slug: str, programs: list[Program], folder: Path) -> dict[str, str]:
    """Run the programs of a language in `folder`; return their output by name."""
    files = []
    for program in programs:
        file = folder / f"{program.name}.{language(slug).suffix}"
        file.write_text(program.code + "\n", encoding="utf-8")
        files.append(file)
    command, environment = _COMMANDS[slug](folder, files)
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    blocks = re.split(rf"^{_MARK}(.+)$", done.stdout, flags=re.M)
    printed = dict(zip(blocks[1::2], (block.strip() for block in blocks[2::2]), strict=True))
    assert set(printed) == {program.name for program in programs}, done.stderr
    return printed


def _shell(folder: Path, files: list[Path]) -> tuple[list[str], dict[str, str]]:
    (folder / ".curlrc").write_text('silent\nwrite-out = "\\n%{http_code}"\n')
    script = "\n".join(f'echo "{_MARK}{file.stem}"; sh "{file.name}"; echo' for file in files)
    return ["sh", "-c", script], {"CURL_HOME": str(folder)}


_PYTHON = f"""
import pathlib, runpy, sys, traceback
for name in sys.argv[1:]:
    print("{_MARK}" + pathlib.Path(name).stem)
    try:
        runpy.run_path(name)
    except Exception:
        print(traceback.format_exc())
"""


def _python(folder: Path, files: list[Path]) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-c", _PYTHON, *map(str, files)], {"PYTHONIOENCODING": "utf-8"}


_NODE = f"""
import {{ parse }} from "node:path";
import {{ pathToFileURL }} from "node:url";
for (const file of process.argv.slice(1)) {{
  console.log("{_MARK}" + parse(file).name);
  try {{ await import(pathToFileURL(file)); }} catch (error) {{ console.log(String(error)); }}
}}
"""


def _node(folder: Path, files: list[Path]) -> tuple[list[str], dict[str, str]]:
    return ["node", "--input-type=module", "-e", _NODE, "--", *map(str, files)], {}


def _php(folder: Path, files: list[Path]) -> tuple[list[str], dict[str, str]]:
    script = "\n".join(f'echo "{_MARK}{file.stem}"; php "{file.name}"; echo' for file in files)
    return ["sh", "-c", script], {}


def _java(folder: Path, files: list[Path]) -> tuple[list[str], dict[str, str]]:
    calls = ""
    for file in files:
        (main,) = re.findall(r"public class (\w+)", file.read_text(encoding="utf-8"))
        # A public class has to be in a file of its own name.
        file.rename(folder / f"{main}.java")
        calls += (
            f'System.out.println("{_MARK}{file.stem}");'
            f"try {{ {main}.main(args); }} catch (Exception e) {{ System.out.println(e); }}\n"
        )
    body = f"public class RunAll {{ public static void main(String[] args) {{ {calls} }} }}"
    (folder / "RunAll.java").write_text(body)
    compile_java(folder)
    options = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Dstdout.encoding=UTF-8"]
    return ["java", *options, "-Dfile.encoding=UTF-8", "-cp", str(folder), "RunAll"], {}


def compile_java(folder: Path) -> None:
    """Compile the folder's Java files; fail with the compiler's output."""
    sources = [str(file) for file in folder.glob("*.java")]
    done = subprocess.run(
        ["javac", "-encoding", "UTF-8", "-d", str(folder), *sources],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def _go(folder: Path, files: list[Path]) -> tuple[list[str], dict[str, str]]:
    """Build one binary of all files, each `main` renamed, since linking takes the most time."""
    calls = ""
    for number, file in enumerate(files):
        code = file.read_text(encoding="utf-8")
        main = "func main() {"
        assert code.count(main) == 1, file.name
        file.write_text(code.replace(main, f"func example{number}() {{"), encoding="utf-8")
        calls += f'\tfmt.Println("{_MARK}{file.stem}")\n\texample{number}()\n'
    every = folder / "every_example.go"
    every.write_text(f'package main\n\nimport "fmt"\n\nfunc main() {{\n{calls}}}\n')
    return [str(compile_go([every, *files]))], {}


def compile_go(files: list[Path]) -> Path:
    """Build the files of one package and return the binary; fail with the compiler's output."""
    binary = files[0].with_suffix("")
    done = subprocess.run(
        ["go", "build", "-o", str(binary), *map(str, files)],
        cwd=binary.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return binary


_COMMANDS: dict[str, Callable[[Path, list[Path]], tuple[list[str], dict[str, str]]]] = {
    "curl": _shell,
    "python": _python,
    "javascript": _node,
    "php": _php,
    "java": _java,
    "go": _go,
}
TOOLS = {
    "curl": "curl",
    "python": sys.executable,
    "javascript": "node",
    "php": "php",
    "java": "javac",
    "go": "go",
}
"""The program that each language needs to run its examples."""


def has(slug: str) -> bool:
    """Return whether the language's examples can run here."""
    return shutil.which(TOOLS[slug]) is not None


def parse(slug: str, printed: str) -> Answer:
    """Return the status and JSON that a program printed."""
    if slug == "curl":
        body, _, status = printed.rpartition("\n")
        return int(status), json.loads(body) if body.strip() else None
    status, _, body = printed.partition(" ")
    read = ast.literal_eval if slug == "python" else json.loads
    return int(status), read(body) if body.strip() else None


# ---------------------------------------------------------------- a program's request


def sent(slug: str, code: str) -> tuple[str, str, Any]:
    """Return the method, URL and JSON body of an example's request, read from its code."""
    return _READERS[slug](code)


def _sent_by_curl(code: str) -> tuple[str, str, Any]:
    import shlex

    words = shlex.split(code.replace("\\\n", " "))
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    (url,) = (word for word in words if word.startswith("http"))
    return method, url, json.loads(words[words.index("-d") + 1]) if "-d" in words else None


def _sent_by_python(code: str) -> tuple[str, str, Any]:
    (call,) = (
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "requests"
    )
    assert isinstance(call.func, ast.Attribute)
    bodies = [ast.literal_eval(word.value) for word in call.keywords if word.arg == "json"]
    return call.func.attr.upper(), ast.literal_eval(call.args[0]), bodies[0] if bodies else None


def _sent_by_javascript(code: str) -> tuple[str, str, Any]:
    (url,) = re.findall(r'fetch\("([^"]+)"', code)
    method = re.findall(r'method: "(\w+)"', code)
    body = re.search(r"body: JSON\.stringify\((.*)\),\n\}\);", code, re.S)
    return method[0] if method else "GET", url, _from_javascript(body[1]) if body else None


def _from_javascript(literal: str) -> Any:
    quoted = re.sub(r"([{,]\s*)([A-Za-z_]\w*):", r'\1"\2":', literal)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", quoted))


def _sent_by_php(code: str) -> tuple[str, str, Any]:
    (url,) = re.findall(r"curl_init\('([^']+)'\)", code)
    method = re.findall(r"CURLOPT_CUSTOMREQUEST => '(\w+)'", code)
    if "CURLOPT_POST => true" in code:
        method = ["POST"]
    body = re.search(r"json_encode\((.*?)\),\n    CURLOPT_RETURN", code, re.S)
    return method[0] if method else "GET", url, _from_php(body[1]) if body else None


def _from_php(literal: str) -> Any:
    """Return the value of a PHP literal: short arrays of strings, numbers and constants."""
    tokens = re.findall(r"'(?:[^'\\]|\\.)*'|=>|[\[\],]|[\w.+-]+", literal)

    def value() -> Any:
        token = tokens.pop(0)
        if token == "[":
            return array()
        if token.startswith("'"):
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        return {"true": True, "false": False, "null": None}.get(token) if token.isalpha() else (
            json.loads(token)
        )  # fmt: skip

    def array() -> Any:
        pairs, plain = {}, []
        while tokens[0] != "]":
            item = value()
            if tokens[0] == "=>":
                tokens.pop(0)
                pairs[item] = value()
            else:
                plain.append(item)
            if tokens[0] == ",":
                tokens.pop(0)
        tokens.pop(0)
        return pairs or plain

    return value()


def _sent_by_java(code: str) -> tuple[str, str, Any]:
    (url,) = re.findall(r'URI\.create\("([^"]+)"\)', code)
    method = re.findall(r'\.(GET|POST|DELETE)\(|\.method\("(\w+)"', code)[0]
    block = re.search(r'"""\n(.*?)"""', code, re.S)
    body = textwrap.dedent(block[1]).replace("\\\\", "\\") if block else None
    return method[0] or method[1], url, json.loads(body) if body else None


def _sent_by_go(code: str) -> tuple[str, str, Any]:
    ((method, url, argument),) = re.findall(r'NewRequest\("(\w+)", "([^"]+)", (\w+)\)', code)
    body = re.search(r"NewReader\(`(.*?)`\)", code, re.S)
    assert (argument == "body") == (body is not None)
    return method, url, json.loads(body[1]) if body else None


_READERS: dict[str, Callable[[str], tuple[str, str, Any]]] = {
    "curl": _sent_by_curl,
    "python": _sent_by_python,
    "javascript": _sent_by_javascript,
    "php": _sent_by_php,
    "java": _sent_by_java,
    "go": _sent_by_go,
}
