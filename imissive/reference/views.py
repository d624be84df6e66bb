"""Views of the OpenAPI document, `/v1/openapi.json`, and the reference, `/docs/reference`."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import condition, require_safe

from accounts.roles import Scope
from imissive.core.errors import ApiError
from imissive.core.reasons import CoreReason
from imissive.reference.page import EVENTS, reference
from imissive.reference.schema import document

SCHEMA_SECONDS = 300


def _etag(request: HttpRequest) -> str:
    return document().etag


@gzip_page
@condition(etag_func=_etag)
def _schema(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(document().text, content_type="application/json")
    response["Cache-Control"] = f"public, max-age={SCHEMA_SECONDS}"
    # Other sites' viewers and generators may read it in a browser; it has nothing private.
    response["Access-Control-Allow-Origin"] = "*"
    return response


def openapi(request: HttpRequest) -> HttpResponse:
    """Serve `GET /v1/openapi.json` to everybody.

    Raises ApiError METHOD_NOT_ALLOWED for other methods than GET and HEAD.
    """
    if request.method not in ("GET", "HEAD"):
        raise ApiError(CoreReason.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
    return _schema(request)


@gzip_page
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Show `GET /docs/reference`: what all calls have in common, and a list of them."""
    return _page(request, "imissive/reference/overview.html", scopes=Scope.choices)


@gzip_page
@require_safe
def tag(request: HttpRequest, slug: str) -> HttpResponse:
    """Show `GET /docs/reference/{tag}`: the operations of a tag. Raises Http404."""
    found = reference().tag(slug)
    if found is None:
        raise Http404
    return _page(request, "imissive/reference/tag.html", tag=found, place=slug)


@gzip_page
@require_safe
def events(request: HttpRequest) -> HttpResponse:
    """Show `GET /docs/reference/events`: the events that are posted to webhooks."""
    return _page(request, "imissive/reference/events.html", place=EVENTS)


def _page(request: HttpRequest, template: str, **context: object) -> HttpResponse:
    shared = {"reference": reference(), "base": settings.PUBLIC_URL}
    return render(request, template, shared | context)
