"""The output of `make run`: each process's lines under its name, and the welcome block."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_WIDTH = 9
_COLOURS = {
    "imissive": "1",
    "web": "32",
    "worker": "36",
    "beat": "34",
    "carriers": "35",
    "smpp": "95",
    "simulator": "33",
    "postgres": "90",
    "valkey": "90",
}
# The servers' lines at every start and stop, and those that are irrelevant here.
_NOISE = re.compile(
    r"^LOG: |the database system is (starting up|shutting down)|Memory overcommit|signal-handler"
    r"|ready to exit"
)


class Terminal:
    """Standard output, in colours if it is a terminal. If it is closed, the platform continues."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def line(self, name: str, text: str) -> None:
        """Write one line of that process."""
        if not text or (name in ("postgres", "valkey") and _NOISE.search(text)):
            return
        head = f"{name:<{_WIDTH}} |"
        if self._colours:
            head = f"\x1b[{_COLOURS.get(name, '37')}m{head}\x1b[0m"
        self.write(f"{head} {text}\n")

    def say(self, text: str) -> None:
        """Write one line of the launcher itself."""
        self.line("imissive", text)

    def write(self, text: str) -> None:
        """Write the text at once, so that no other line comes between its lines."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            # The reader is gone. The platform continues until a stop signal.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def welcome(demo: Mapping[str, str], url: str, demo_file: Path) -> str:
    """Return the block at the end of the start; without a demo, it has only the URL."""
    rule = "─" * 78
    if not demo:
        return f"\n{rule}\n  imissive is ready: {url}\n  Ctrl-C ends it.\n{rule}\n\n"
    return f"""
{rule}
  imissive is ready: {demo["IMISSIVE_URL"]}

  Demo login    {demo["IMISSIVE_EMAIL"]}   {demo["IMISSIVE_PASSWORD"]}
  Admin login   {demo["IMISSIVE_ADMIN_EMAIL"]}  {demo["IMISSIVE_ADMIN_PASSWORD"]}   (at /admin/)
  API key       {demo["IMISSIVE_API_KEY"]}

  The first message:

curl -X POST {demo["IMISSIVE_URL"]}/v1/sms/send \\
-H "Authorization: Bearer {demo["IMISSIVE_API_KEY"]}" \\
-H "Content-Type: application/json" \\
-d '{{
"to": "+966501234567",
"message": "Hello from iMissive!",
"sender_id": "{demo["IMISSIVE_SENDER_ID"]}"
}}'

  All of this and a test key are in {demo_file}. Ctrl-C ends everything.
{rule}

"""
