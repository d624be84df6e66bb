"""Stored files: atomic writes, access by their own organization only, download, expiry."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import tasks
from accounts.models import FileChunk, StoredFile
from accounts.ui import stored_files
from tests.support.factories import Customer


def _store(customer: Customer, content: list[bytes], **more) -> StoredFile:
    return stored_files.store(
        customer.organization, name="a.csv", content_type="text/csv", content=content, **more
    )


@pytest.mark.parametrize("sizes", [[], [0], [1], [stored_files.CHUNK_BYTES], [300_000, 1, 600_000]])
def test_a_stored_file_is_read_back(customer: Customer, sizes: list[int]) -> None:
    content = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    file = _store(customer, content)
    file.refresh_from_db()
    assert file.size == sum(sizes)
    assert b"".join(stored_files.read(file)) == b"".join(content)
    assert file.chunks.count() == -(-sum(sizes) // stored_files.CHUNK_BYTES)


def test_an_interrupted_upload_leaves_nothing(customer: Customer) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 600_000
        raise OSError("the upload was cut")

    with pytest.raises(OSError, match="cut"):
        stored_files.store(
            customer.organization, name="a", content_type="text/csv", content=broken()
        )
    assert not StoredFile.objects.filter(organization=customer.organization).exists()
    assert not FileChunk.objects.filter(file__organization=customer.organization).exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\list.csv", "list.csv"),
        ("", "file"),
        ("a\0b", "ab"),
        ("ق" * 300, "ق" * 200),
    ],
)
def test_a_name_is_only_a_name(customer: Customer, name: str, kept: str) -> None:
    file = stored_files.store(
        customer.organization, name=name, content_type="text/csv", content=[b"x"]
    )
    file.refresh_from_db()
    assert file.name == kept


def test_another_organizations_and_expired_files_are_not_found(
    customer: Customer, outsider: Customer
) -> None:
    file = _store(customer, [b"x"], expires_at=timezone.now() + timedelta(minutes=1))
    assert stored_files.file_of(customer.organization, file.id) == file
    assert stored_files.file_of(outsider.organization, file.id) is None
    StoredFile.objects.filter(id=file.id).update(expires_at=timezone.now())
    assert stored_files.file_of(customer.organization, file.id) is None


def test_a_download_is_saved_and_never_run(customer: Customer) -> None:
    file = stored_files.store(
        customer.organization, name='ش".html', content_type="text/html", content=[b"<script>"]
    )
    response = stored_files.download(file)
    assert response.getvalue() == b"<script>"
    assert response["Content-Disposition"].startswith("attachment; filename*=utf-8''")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_expired_files_are_deleted(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_files, "PURGE_STEP", 2)
    now = timezone.now()
    for _ in range(5):
        _store(customer, [b"x"], expires_at=now - timedelta(seconds=1))
    kept = {
        _store(customer, [b"x"]).id,
        _store(customer, [b"x"], expires_at=now + timedelta(hours=1)).id,
    }
    tasks.purge_files()
    left = StoredFile.objects.filter(organization=customer.organization)
    assert set(left.values_list("id", flat=True)) == kept
