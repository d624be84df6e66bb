#!/usr/bin/env python
"""Django's command line for imissive: `python manage.py COMMAND`."""

import os
import sys


def main() -> None:
    """Run the management command of the process's arguments."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
