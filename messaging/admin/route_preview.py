"""Route preview: the outcome for a message and why, by the function that accepts messages.

`evaluation.examine` gives the outcome; beside it stand the rows that it came from, so that an
operator sees which route and which price won. Nothing is stored or charged.
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
    """One carrier of the route, in the order in which they are tried."""

    carrier: Carrier
    up: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """`route` and `price` are None where none serves the number, and for test messages."""

    opinion: Opinion
    route: Route | None
    steps: list[Step]
    price: Price | None
    balance: int

    @property
    def covered(self) -> bool:
        return (self.opinion.price or 0) <= self.balance


def try_out(organization: Organization, draft: Draft, *, test: bool) -> Trial:
    """Judge the draft as `sending.accept` would, a moment from now."""
    send_request = SendRequest(organization.id, "trial", test=test)
    terms = terms_of(send_request, [draft])
    opinion = examine(draft, terms)
    route, price = None, None
    if opinion.number is not None and not test:
        e164 = opinion.number.e164
        if found := terms.tables.routes.match(e164, organization.id):
            route = Route.objects.filter(_kept_under(found[0], found[1])).first()
        if priced := terms.tables.prices.match(e164, organization.id):
            price = Price.objects.filter(_kept_under(priced[0], priced[1])).first()
    balance = Balance.objects.filter(organization=organization).first()
    return Trial(opinion, route, _steps(route, opinion), price, balance.micro if balance else 0)


def _kept_under(owner: Owner, prefix: str) -> Q:
    """The row of that owner, or of everybody, with that prefix."""
    whose = Q(organization__isnull=True) if owner is None else Q(organization=owner)
    return whose & Q(prefix=prefix)


def _steps(route: Route | None, opinion: Opinion) -> list[Step]:
    """The carriers of the route as they are tried; those that are passed over come last."""
    up = bind_status.carriers_up()
    send_request = {choice.id: place for place, choice in enumerate(opinion.carriers)}
    if route is not None:
        carriers = [step.carrier for step in route.steps.select_related("carrier")]
    else:
        carriers = list(Carrier.objects.filter(id__in=send_request))
    carriers.sort(key=lambda carrier: send_request.get(carrier.id, len(send_request)))
    return [
        Step(carrier, up=carrier.id in up, chosen=send_request.get(carrier.id) == 0)
        for carrier in carriers
    ]
