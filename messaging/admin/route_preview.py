"""Route preview: the evaluation of a message for operators, with the route and price that apply.

The result is that of `evaluation.examine`, which accepting uses too. The preview adds the rows of
the route and the price, so that an operator sees which ones matched. Nothing is stored or charged.
"""

from dataclasses import dataclass

from django.db.models import Q

from accounts.models import Balance, Organization
from messaging.carriers import bind_status
from messaging.models import Carrier, Price, Route
from messaging.routing.tables import Owner
from messaging.sending.accept import SendRequest, terms_of
from messaging.sending.evaluation import Draft, Opinion, examine


@dataclass(frozen=True, slots=True)
class Step:
    """One carrier of the route. `up`: it has a bind. `chosen`: it is tried first."""

    carrier: Carrier
    up: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class RoutePreview:
    """The preview of a message. `balance` is in micro-credits.

    `route` and `price` are None where none applies to the number, and for test messages.
    """

    opinion: Opinion
    route: Route | None
    steps: list[Step]
    price: Price | None
    balance: int

    @property
    def covered(self) -> bool:
        """True where the balance covers the price."""
        return (self.opinion.price or 0) <= self.balance


def preview_route(organization: Organization, draft: Draft, *, test: bool) -> RoutePreview:
    """Evaluate the draft as `sending.accept` would now; `test` as with a test key."""
    send_request = SendRequest(organization.id, "trial", test=test)
    terms = terms_of(send_request, [draft])
    opinion = examine(draft, terms)
    route, price = None, None
    if opinion.number is not None and not test:
        e164 = opinion.number.e164
        if found := terms.tables.routes.match(e164, organization.id):
            route = Route.objects.filter(_of_owner(found[0], found[1])).first()
        if priced := terms.tables.prices.match(e164, organization.id):
            price = Price.objects.filter(_of_owner(priced[0], priced[1])).first()
    balance = Balance.objects.filter(organization=organization).first()
    micro = balance.micro if balance else 0
    return RoutePreview(opinion, route, _steps(route, opinion), price, micro)


def _of_owner(owner: Owner, prefix: str) -> Q:
    """Return the condition for the row of that owner, None meaning all, with that prefix."""
    by_owner = Q(organization__isnull=True) if owner is None else Q(organization=owner)
    return by_owner & Q(prefix=prefix)


def _steps(route: Route | None, opinion: Opinion) -> list[Step]:
    """Return the route's carriers in the order of failover; those that are skipped come last."""
    up = bind_status.carriers_up()
    positions = {choice.id: position for position, choice in enumerate(opinion.carriers)}
    if route is not None:
        carriers = [step.carrier for step in route.steps.select_related("carrier")]
    else:
        carriers = list(Carrier.objects.filter(id__in=positions))
    carriers.sort(key=lambda carrier: positions.get(carrier.id, len(positions)))
    return [
        Step(carrier, up=carrier.id in up, chosen=positions.get(carrier.id) == 0)
        for carrier in carriers
    ]
