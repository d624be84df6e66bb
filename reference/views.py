"""`/v1/openapi.json` and the reference at `/docs/reference`."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import condition

from imissive.errors import ApiError
from reference.schema import document

SCHEMA_SECONDS = 300


def _etag(request: HttpRequest) -> str:
    return document().etag


@gzip_page
@condition(etag_func=_etag)
def _schema(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(document().text, content_type="application/json")
    response["Cache-Control"] = f"public, max-age={SCHEMA_SECONDS}"
    # For viewers and generators of others, in browsers too; nothing in it is anybody's own.
    response["Access-Control-Allow-Origin"] = "*"
    return response


def openapi(request: HttpRequest) -> HttpResponse:
    """`GET /v1/openapi.json`: for everybody."""
    if request.method not in ("GET", "HEAD"):
        told = "This address does not answer to that method."
        raise ApiError("METHOD_NOT_ALLOWED", told, headers={"Allow": "GET, HEAD"})
    return _schema(request)
