"""URLs of the one-time passwords' REST API, under /v1/."""

from django.urls import path

from otp.verification import api

urlpatterns = [
    path("otp/send", api.OtpSendView.as_view()),
    path("otp/verify", api.OtpVerifyView.as_view()),
    path("otp/<str:otp_id>/resend", api.OtpResendView.as_view()),
    path("otp/<str:otp_id>/cancel", api.OtpCancelView.as_view()),
    path("otp/<str:otp_id>", api.OtpView.as_view()),
]
