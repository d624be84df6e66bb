"""The languages of the examples: each generates the program of an API call.

All six are generated from the same call, so no example can differ from the others. Programs that
are more than one call (a webhook receiver, a send with retries) are files in `examples/`, named
`<name>.<suffix>`.
"""

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from imissive.guide.calls import KEY, Call
from imissive.guide.literals import (
    JAVASCRIPT,
    JSON,
    PHP,
    PYTHON,
    write,
)


@dataclass(frozen=True, slots=True)
class Language:
    """A language: `slug` in the reader's preference, `suffix` of its files, `lexer` of pygments.

    `call` returns the program of a call, for the platform's base URL.
    """

    slug: str
    name: str
    suffix: str
    lexer: str
    call: Callable[[Call, str], str]


def _headers(call: Call) -> dict[str, str]:
    kind = {} if call.body is None else {"Content-Type": "application/json"}
    return {"Authorization": f"Bearer {KEY}"} | kind | dict(call.headers)


def _curl(call: Call, base: str) -> str:
    url = f"{base}{call.path}"
    url = f'"{url}"' if "?" in url else url
    lines = [f"curl {url}" if call.method == "GET" else f"curl -X {call.method} {url}"]
    lines += [f'-H "{name}: {value}"' for name, value in _headers(call).items()]
    if call.body is not None:
        body = write(call.body, JSON).replace("'", "'\\''")
        lines.append(f"-d '{body}'")
    return " \\\n  ".join(lines)


def _python(call: Call, base: str) -> str:
    # `requests` sets the Content-Type of JSON automatically.
    headers = {name: value for name, value in _headers(call).items() if name != "Content-Type"}
    arguments = [f'"{base}{call.path}"', f"headers={write(headers, PYTHON, 1, prefix=8)}"]
    if call.body is not None:
        arguments.append("json=" + write(call.body, PYTHON).replace("\n", "\n    "))
    arguments.append("timeout=30")
    inner = "".join(f"    {argument},\n" for argument in arguments)
    answer = "" if call.answer is None else ", response.json()"
    return (
        "import requests\n\n"
        f"response = requests.{call.method.lower()}(\n{inner})\n"
        f"print(response.status_code{answer})"
    )


def _javascript(call: Call, base: str) -> str:
    headers = write(_headers(call), JAVASCRIPT).replace("\n", "\n  ")
    lines = [] if call.method == "GET" else [f'  method: "{call.method}",\n']
    lines.append(f"  headers: {headers},\n")
    if call.body is not None:
        body = write(call.body, JAVASCRIPT).replace("\n", "\n  ")
        lines.append(f"  body: JSON.stringify({body}),\n")
    request = f'const response = await fetch("{base}{call.path}", {{\n{"".join(lines)}}});\n'
    if call.answer is None:
        return f"{request}console.log(response.status);"
    return (
        f"{request}const answer = await response.json();\n"
        "console.log(response.status, JSON.stringify(answer, null, 2));"
    )


def _php(call: Call, base: str) -> str:
    headers = "".join(f"        '{name}: {value}',\n" for name, value in _headers(call).items())
    method = {
        "GET": "",
        "POST": "    CURLOPT_POST => true,\n",
    }.get(call.method, f"    CURLOPT_CUSTOMREQUEST => '{call.method}',\n")
    body = ""
    if call.body is not None:
        literal = write(call.body, PHP).replace("\n", "\n    ")
        body = f"    CURLOPT_POSTFIELDS => json_encode({literal}),\n"
    elif call.method == "POST":
        body = "    CURLOPT_POSTFIELDS => '',\n"
    shown = "" if call.answer is None else ", ' ', $answer"
    return (
        "<?php\n\n"
        f"$curl = curl_init('{base}{call.path}');\n"
        "curl_setopt_array($curl, [\n"
        f"{method}"
        f"    CURLOPT_HTTPHEADER => [\n{headers}    ],\n"
        f"{body}"
        "    CURLOPT_RETURNTRANSFER => true,\n"
        "]);\n"
        "$answer = curl_exec($curl);\n"
        f"echo curl_getinfo($curl, CURLINFO_RESPONSE_CODE){shown};"
    )


def _java(call: Call, base: str) -> str:
    body = publisher = ""
    if call.body is not None:
        text = write(call.body, JSON).replace("\\", "\\\\")
        body = f'String body = """\n{textwrap.indent(text, "    ")}\n    """;\n'
        publisher = "HttpRequest.BodyPublishers.ofString(body)"
    else:
        publisher = "HttpRequest.BodyPublishers.noBody()"
    headers = "".join(
        f'    .header("{name}", "{value}")\n' for name, value in _headers(call).items()
    )
    method = {
        "GET": "    .GET()\n",
        "DELETE": "    .DELETE()\n",
        "POST": f"    .POST({publisher})\n",
    }.get(call.method, f'    .method("{call.method}", {publisher})\n')
    request = (
        f"{body}"
        f'HttpRequest request = HttpRequest.newBuilder(URI.create("{base}{call.path}"))\n'
        f"{headers}{method}"
        "    .build();\n"
        "HttpResponse<String> response = HttpClient.newHttpClient()\n"
        "    .send(request, HttpResponse.BodyHandlers.ofString());\n"
        'System.out.println(response.statusCode() + " " + response.body());'
    )
    return (
        "import java.net.URI;\n"
        "import java.net.http.*;\n\n"
        f"public class {_class_name(call.name)} {{\n"
        "    public static void main(String[] args) throws Exception {\n"
        f"{textwrap.indent(request, ' ' * 8)}\n"
        "    }\n}"
    )


def _class_name(name: str) -> str:
    return re.sub(r"(?:^|-)(\w)", lambda found: found[1].upper(), name)


def _go(call: Call, base: str) -> str:
    body, packages = "", ["fmt", "io", "log", "net/http"]
    argument = "nil"
    if call.body is not None:
        body = f"\tbody := strings.NewReader(`{write(call.body, JSON)}`)\n"
        packages.append("strings")
        argument = "body"
    imports = "".join(f'\t"{package}"\n' for package in packages)
    headers = "".join(
        f'\trequest.Header.Set("{name}", "{value}")\n' for name, value in _headers(call).items()
    )
    fail = "\tif err != nil {\n\t\tlog.Fatal(err)\n\t}\n"
    return (
        f"package main\n\nimport (\n{imports})\n\n"
        "func main() {\n"
        f"{body}"
        f'\trequest, err := http.NewRequest("{call.method}", "{base}{call.path}", {argument})\n'
        f"{fail}{headers}\n"
        "\tresponse, err := http.DefaultClient.Do(request)\n"
        f"{fail}"
        "\tdefer response.Body.Close()\n"
        "\tanswer, err := io.ReadAll(response.Body)\n"
        f"{fail}"
        "\tfmt.Println(response.StatusCode, string(answer))\n"
        "}"
    )


LANGUAGES = (
    Language("curl", "curl", "sh", "bash", _curl),
    Language("python", "Python", "py", "python", _python),
    Language("javascript", "JavaScript", "mjs", "javascript", _javascript),
    Language("php", "PHP", "php", "php", _php),
    Language("java", "Java", "java", "java", _java),
    Language("go", "Go", "go", "go", _go),
)
