"""URLs of compose and of templates, under /dashboard/<organization_id>/."""

from django.urls import path

from messaging.compose import template_views, views

urlpatterns = [
    path("compose/", views.compose, name="compose"),
    path("compose/estimate/", views.estimate, name="compose_estimate"),
    path("compose/send/", views.send_composed, name="send_composed"),
    path("templates/", template_views.template_list, name="templates"),
    path("templates/new/", template_views.new_template, name="new_template"),
    path("templates/<str:template_id>/", template_views.change_template, name="template"),
    path(
        "templates/<str:template_id>/remove/",
        template_views.remove_template,
        name="remove_template",
    ),
]
