"""The server process: options from the settings, signals, a graceful stop."""

import asyncio
import contextlib
import errno
import resource
import signal
import ssl
from dataclasses import replace

from django.conf import settings

from imissive.core.sql import limit_statements
from messaging.gateway.server import CustomerServer, Options

STOP_SECONDS = 2.5
"""The time that a draining server waits for responses, and then for receipts to be settled."""


class CannotServe(Exception):
    """The server cannot start; the message is one line for the operator."""


def options() -> Options:
    """Return the server's options. Raise CannotServe for an unusable certificate."""
    plain = Options(
        host=settings.SMPP_HOST,
        port=settings.SMPP_PORT,
        max_connections=settings.SMPP_MAX_CONNECTIONS,
        reuse_port=settings.SMPP_REUSE_PORT,
    )
    inactivity = float(settings.SMPP_INACTIVITY) or None
    plain = replace(plain, link=replace(plain.link, inactivity_timeout=inactivity))
    if settings.SMPP_TLS_CERT is None:
        return plain
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.SMPP_TLS_CERT, settings.SMPP_TLS_KEY)
    except (OSError, ssl.SSLError) as error:
        raise CannotServe(f"SMPP_TLS_CERT {settings.SMPP_TLS_CERT}: {error}") from None
    return replace(plain, tls=context, tls_port=settings.SMPP_TLS_PORT)


def run() -> None:
    """Serve until SIGTERM or SIGINT. Raise CannotServe if it cannot start."""
    chosen = options()
    limit_statements()
    _allow_files()
    try:
        asyncio.run(_serve(chosen))
    except OSError as error:
        where = f"{chosen.host}:{chosen.port}"
        if error.errno == errno.EADDRINUSE:
            raise CannotServe(f"{where} is taken; choose another port by SMPP_PORT") from None
        raise CannotServe(f"{where}: {error.strerror or error}") from None


async def _serve(chosen: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = CustomerServer(chosen)
    await server.start()
    await stop.wait()
    await server.stop(STOP_SECONDS)


def _allow_files() -> None:
    """Raise the limit of open files to the system's maximum."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
