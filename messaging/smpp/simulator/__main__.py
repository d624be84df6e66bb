"""`python -m messaging.smpp.simulator`: the demo's carrier as a separate process."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import signal
import ssl
import sys
from pathlib import Path
from typing import get_args

from messaging.smpp.constants import Status
from messaging.smpp.simulator.options import (
    AnswerBody,
    IdForm,
    Options,
    ReceiptBy,
    ReceiptIdForm,
    ReceiptStyle,
    ReceiptText,
)
from messaging.smpp.simulator.server import Simulator
from messaging.smpp.simulator.submits import Journal


def _status(text: str) -> int:
    """Parse a command_status from its name in the specification or its number."""
    try:
        return Status[text] if text in Status.__members__ else int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"no such status: {text}") from None


def _refusal(text: str) -> tuple[int, float]:
    name, _, fraction = text.partition("=")
    try:
        return _status(name), float(fraction or 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a fraction: {fraction}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m messaging.smpp.simulator",
        description="A simulated SMSC, well-behaved or faulty. Times are seconds.",
        epilog="SIGUSR1 breaks every connection, SIGUSR2 unbinds every ESME.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=2776)
    add("--tls-cert", type=Path, metavar="FILE", help="serve TLS, with this certificate")
    add("--tls-key", type=Path, metavar="FILE")
    add("--journal", type=Path, metavar="FILE", help="append a line for each submit")
    add("--seed", type=int, help="make random choices repeatable")
    _add_receipt_options(parser)
    _add_misbehaviour(parser)
    return parser


def _add_receipt_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("receipts and message ids")
    add = group.add_argument
    add("--receipt-delay", type=float, default=0.5)
    add("--instant", action="store_true", help="the same as --receipt-delay 0")
    add("--time-scale", type=float, default=1.0, help="multiplies every delay of a receipt")
    add("--receipt-style", choices=get_args(ReceiptStyle), default="both")
    add("--receipt-text", choices=get_args(ReceiptText), default="standard")
    add("--receipt-by", choices=get_args(ReceiptBy), default="deliver_sm")
    add("--receipt-esm-class", type=int, default=4, metavar="N", help="0 marks them as nothing")
    add("--receipt-state", type=int, metavar="N", help="in every message_state, such as 1")
    add("--receipt-word", metavar="WORD", help="for what is not delivered, such as NODLV")
    add("--receipt-long", action="store_true", help="an address and a service_type too long")
    add("--receipt-window", type=int, default=200, help="unanswered deliver_sm on each bind")
    add("--id-form", choices=get_args(IdForm), default="decimal")
    add("--receipt-id-form", choices=get_args(ReceiptIdForm), default="same")


def _add_misbehaviour(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("bind rules and misbehaviour")
    add = group.add_argument
    add("--password", help="refuse every other")
    add("--system-ids", metavar="A,B", help="refuse every other")
    add("--max-binds", type=int, help="of each system_id")
    add("--refuse-binds", type=_status, default=0, metavar="STATUS")
    add("--answer-body", choices=get_args(AnswerBody), default="standard", help="odd bodies")
    add("--receipt-tail", type=bytes.fromhex, default=b"", metavar="HEX", help="stray octets")
    add("--answer-delay", type=float, default=0.0)
    add("--answer-jitter", type=float, default=0.0, help="up to that much more, at random")
    add("--rate-limit", type=float, metavar="N", help="ESME_RTHROTTLED beyond N submits a second")
    add(
        "--refuse",
        type=_refusal,
        action="append",
        default=[],
        metavar="STATUS[=FRACTION]",
        help="refuse submits, such as ESME_RMSGQFUL=0.1; may be given again",
    )
    add("--blackhole", action="store_true", help="never answer a submit")
    add("--drop-after", type=int, metavar="N", help="break every connection at its Nth submit")
    add("--unbind-after", type=int, metavar="N", help="unbind at the Nth submit, amid responses")
    add("--garbage-after", type=int, metavar="N", help="send garbage from the Nth submit on")
    add("--ignore-enquire-link", action="store_true")


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        receipt_delay=0.0 if arguments.instant else arguments.receipt_delay,
        time_scale=arguments.time_scale,
        receipt_style=arguments.receipt_style,
        receipt_text=arguments.receipt_text,
        receipt_by=arguments.receipt_by,
        receipt_esm_class=arguments.receipt_esm_class,
        receipt_state=arguments.receipt_state,
        receipt_word=arguments.receipt_word,
        receipt_long=arguments.receipt_long,
        receipt_window=arguments.receipt_window,
        id_form=arguments.id_form,
        receipt_id_form=arguments.receipt_id_form,
        password=arguments.password,
        system_ids=frozenset(arguments.system_ids.split(",")) if arguments.system_ids else None,
        max_binds=arguments.max_binds,
        refuse_binds=arguments.refuse_binds,
        answer_body=arguments.answer_body,
        receipt_tail=arguments.receipt_tail,
        answer_delay=arguments.answer_delay,
        answer_jitter=arguments.answer_jitter,
        rate_limit=arguments.rate_limit,
        refusals=dict(arguments.refuse),
        blackhole=arguments.blackhole,
        drop_after=arguments.drop_after,
        unbind_after=arguments.unbind_after,
        garbage_after=arguments.garbage_after,
        ignore_enquire_link=arguments.ignore_enquire_link,
        history=0,  # nothing in this process reads it
    )


def _tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if arguments.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    return context


async def _serve(arguments: argparse.Namespace, simulator: Simulator) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    unbinding: set[asyncio.Task[None]] = set()

    def unbind_all() -> None:
        task = loop.create_task(simulator.unbind_all())
        unbinding.add(task)
        task.add_done_callback(unbinding.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, simulator.drop_all)
    loop.add_signal_handler(signal.SIGUSR2, unbind_all)
    await simulator.start(arguments.host, arguments.port, _tls(arguments))
    await stop.wait()
    await simulator.stop()


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = _parser()
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    journal: Journal | None = None
    try:
        journal = Journal(arguments.journal) if arguments.journal else None
        simulator = Simulator(_options(arguments), journal=journal, seed=arguments.seed)
        asyncio.run(_serve(arguments, simulator))
    except ValueError as problem:
        parser.error(str(problem))
    except OSError as problem:
        where = f"{arguments.host}:{arguments.port}"
        if problem.errno == errno.EADDRINUSE:
            print(f"{where} is in use; choose another port with --port", file=sys.stderr)
        else:
            print(f"the simulator cannot start on {where}: {problem}", file=sys.stderr)
        return 1
    finally:
        if journal is not None:
            journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
