"""Addresses of composing and of templates, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging import compose_views, templates_views

urlpatterns = [
    path("compose/", compose_views.compose, name="compose"),
    path("compose/estimate/", compose_views.estimate, name="compose_estimate"),
    path("compose/send/", compose_views.send_composed, name="send_composed"),
    path("templates/", templates_views.template_list, name="templates"),
    path("templates/new/", templates_views.new_template, name="new_template"),
    path("templates/<str:template_id>/", templates_views.change_template, name="template"),
    path(
        "templates/<str:template_id>/remove/",
        templates_views.remove_template,
        name="remove_template",
    ),
]
