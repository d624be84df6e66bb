"""Reads carriers, routes, prices and countries' rules into `routing.Tables`.

Once a second at most per process.
"""

import threading
import time
from zoneinfo import ZoneInfo

from messaging.models import Carrier, Price, RouteCarrier, SendingRule
from messaging.routing import CarrierChoice, PrefixTable, Tables
from messaging.windows import Window

FRESH_SECONDS = 1.0

_lock = threading.Lock()
_cached: tuple[float, Tables] | None = None


def tables() -> Tables:
    """The tables as they stand, or stood at most a second ago."""
    cached = _cached
    if cached is not None and time.monotonic() - cached[0] < FRESH_SECONDS:
        return cached[1]
    with _lock:
        cached = _cached
        if cached is not None and time.monotonic() - cached[0] < FRESH_SECONDS:
            return cached[1]
        return reload()


def reload() -> Tables:
    """Read the tables now."""
    global _cached
    fresh = read()
    _cached = (time.monotonic(), fresh)
    return fresh


def read() -> Tables:
    """The tables straight from the database."""
    carriers = {
        row.id: row
        for row in Carrier.objects.filter(enabled=True).only(
            "id", "slug", "is_sandbox", "draining", "source_coding"
        )
    }
    choices = {
        row.id: CarrierChoice(row.id, row.slug, row.source_coding) for row in carriers.values()
    }
    steps: dict[int, tuple[RouteCarrier, list[CarrierChoice]]] = {}
    for step in RouteCarrier.objects.filter(
        route__enabled=True, carrier__enabled=True
    ).select_related("route"):
        choice = choices.get(step.carrier_id)
        if choice is not None:
            steps.setdefault(step.route_id, (step, []))[1].append(choice)
    for _, found in steps.values():
        # What is drained is used only where there is nothing else: then messages wait for it.
        found.sort(key=lambda choice: carriers[choice.id].draining)
    windows: dict[str, tuple[Window, ...]] = {}
    for rule in SendingRule.objects.filter(enabled=True):
        window = Window(
            rule.country, rule.sender_suffix, rule.opens, rule.closes, ZoneInfo(rule.time_zone)
        )
        windows[rule.country] = (*windows.get(rule.country, ()), window)
    return Tables(
        carriers=choices,
        windows=windows,
        routes=PrefixTable(
            (step.route.organization_id, step.route.prefix, tuple(found))
            for step, found in steps.values()
        ),
        prices=PrefixTable(Price.objects.values_list("organization_id", "prefix", "micro")),
        sandbox=next((choices[row.id] for row in carriers.values() if row.is_sandbox), None),
    )
