"""Scheduling of tests by pytest-xdist: by file, with all files of the running platform together."""

from xdist.scheduler import LoadFileScheduling

SITE_FILES = (
    "tests/journeys/test_nothing_lost.py",
    "tests/journeys/test_api_processes.py",
    "tests/imissive/guide/test_guide_examples.py",
    "tests/journeys/test_journeys.py",
    "tests/journeys/test_magic_numbers.py",
    "tests/journeys/test_number_ranges.py",
    "tests/messaging/gateway/test_server_killed.py",
    "tests/journeys/test_release.py",
    "tests/journeys/test_campaign_journey.py",
    "tests/messaging/log/test_exports_killed.py",
    "tests/journeys/test_frozen_redis.py",
    "tests/journeys/test_service_returns.py",
    "tests/journeys/test_clocks.py",
    "tests/journeys/test_drill.py",
)
"""The files that use the running platform, which is started once for all of them."""

LONGEST_FIRST = (
    *SITE_FILES,
    "tests/imissive/run/test_launch.py",
    "tests/journeys/test_silent_database.py",
    "tests/journeys/test_failover.py",
    "tests/journeys/test_axe.py",
    "tests/accounts/operators/test_admin.py",
)
"""The slowest files, which would run alone if they came last."""


class BySite(LoadFileScheduling):
    """xdist's `loadfile`, with SITE_FILES as one file.

    Its `loadgroup` does not find groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the running platform" if file in SITE_FILES else file
