"""URLs of the one-time passwords' pages, under /dashboard/<organization_id>/."""

from django.urls import path

from otp.dashboard import views

urlpatterns = [
    path("otp/", views.otp_page, name="otp"),
    path("otp/countries/", views.choose_countries, name="choose_countries"),
    path("otp/try/", views.send_try, name="send_try"),
    path("otp/try/<str:otp_id>/", views.try_page, name="otp_try"),
]
