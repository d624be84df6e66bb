"""The WSGI application, which the HTTP server (Granian) calls."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")

application = get_wsgi_application()
