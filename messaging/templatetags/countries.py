"""Template filter for the names of countries."""

from django import template

from imissive.core.countries import name_of

register = template.Library()


@register.filter
def country_name(country: str) -> str:
    """Return the name of a country in the page's language, from its code in ISO 3166."""
    return name_of(country)
