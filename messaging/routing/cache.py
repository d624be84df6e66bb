"""Routing cache: carriers, routes, prices and countries' rules, read at most once a second.

Operators' numbering ranges are read with them: whoever evaluates messages knows both.

Each process has its own.
"""

import threading
import time
from zoneinfo import ZoneInfo

from messaging.models import Carrier, Price, RouteCarrier, SendingRule
from messaging.routing import numbering
from messaging.routing.sending_hours import SendingHours
from messaging.routing.tables import CarrierChoice, PrefixTable, Tables

MAX_AGE_SECONDS = 1.0

_lock = threading.Lock()
_cached: tuple[float, Tables] | None = None


def tables() -> Tables:
    """Return the routing tables, at most MAX_AGE_SECONDS old."""
    cached = _cached
    if cached is not None and time.monotonic() - cached[0] < MAX_AGE_SECONDS:
        return cached[1]
    with _lock:
        cached = _cached
        if cached is not None and time.monotonic() - cached[0] < MAX_AGE_SECONDS:
            return cached[1]
        return reload()


def reload() -> Tables:
    """Read the routing tables from the database, cache and return them."""
    global _cached
    numbering.reload()
    fresh = read()
    _cached = (time.monotonic(), fresh)
    return fresh


def read() -> Tables:
    """Read the routing tables from the database, without the cache."""
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
        # A draining carrier comes last: messages wait for it only where a route has no other.
        found.sort(key=lambda choice: carriers[choice.id].draining)
    hours: dict[str, tuple[SendingHours, ...]] = {}
    for rule in SendingRule.objects.filter(enabled=True):
        each = SendingHours(
            rule.country, rule.sender_suffix, rule.opens, rule.closes, ZoneInfo(rule.time_zone)
        )
        hours[rule.country] = (*hours.get(rule.country, ()), each)
    return Tables(
        carriers=choices,
        hours=hours,
        routes=PrefixTable(
            (step.route.organization_id, step.route.prefix, tuple(found))
            for step, found in steps.values()
        ),
        prices=PrefixTable(Price.objects.values_list("organization_id", "prefix", "micro")),
        sandbox=next((choices[row.id] for row in carriers.values() if row.is_sandbox), None),
    )
