"""An operation of the API, stated once: its schema and the reading of its requests come from it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from imissive.core import ids
from imissive.core.api.requests import (
    Body,
    Query,
    parse_body,
    parse_either,
    parse_no_body,
    parse_query,
)

PATH_IDS = {
    "message_id": ids.MESSAGE,
    "batch_id": ids.BATCH,
    "otp_id": ids.OTP,
    "webhook_id": ids.ENDPOINT,
    "delivery_id": ids.DELIVERY,
    "sender_id": ids.SENDER,
}
"""The kinds of ids in paths, by their parameters' names."""

PathId = uuid.UUID | None
"""An id in a path, as a handler gets it: None where the text is not an id of that kind."""

HandlerT = TypeVar("HandlerT", bound=Callable[..., Response])


@dataclass(frozen=True, slots=True)
class Either:
    """A body that is one of two models: `other` where it has the field `marked_by`."""

    model: type[Body]
    other: type[Body]
    marked_by: str


def operation(
    operation_id: str,
    summary: str,
    *,
    responses: dict[int, Any],
    query: type[Query] | None = None,
    body: type[Body] | Either | None = None,
) -> Callable[[HandlerT], HandlerT]:
    """State what a handler takes and answers; it is called with what was read of the request.

    `query`, `body`: the models, of which the handler gets an instance by that name. A POST without
    a model refuses a body. `responses`: by status a model, a union of models, or None for no body.
    An id in the path comes as a PathId. The handler's docstring is the operation's description.
    """

    def decorate(handler: HandlerT) -> HandlerT:
        takes_none = body is None and handler.__name__ == "post"

        @wraps(handler)
        def read(view: Any, request: Request, **parameters: Any) -> Response:
            for name in parameters.keys() & PATH_IDS.keys():
                parameters[name] = ids.parse_id(PATH_IDS[name], parameters[name])
            if query is not None:
                parameters["query"] = parse_query(request, query)
            if isinstance(body, Either):
                parameters["body"] = parse_either(
                    request, body.model, body.other, marked_by=body.marked_by
                )
            elif body is not None:
                parameters["body"] = parse_body(request, body)
            elif takes_none:
                parse_no_body(request)
            return handler(view, request, **parameters)

        described = extend_schema(
            operation_id=operation_id,
            summary=summary,
            parameters=cast("Any", [] if query is None else [query]),
            request=body.model | body.other if isinstance(body, Either) else body,
            responses=responses,
        )
        return cast("HandlerT", described(read))

    return decorate
