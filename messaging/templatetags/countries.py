"""Countries by their names."""

from django import template

from messaging.numbers.countries import name_of

register = template.Library()


@register.filter
def country_name(country: str) -> str:
    """The name of a country in the language of the page, from its code in ISO 3166."""
    return name_of(country)
