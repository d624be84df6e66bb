"""Scheduling of tests by pytest-xdist: by file, and the running platform's files in two groups."""

from xdist.scheduler import LoadFileScheduling

KILLED_SITE_FILES = (
    "tests/journeys/test_nothing_lost.py",
    "tests/messaging/gateway/test_server_killed.py",
    "tests/journeys/test_clocks.py",
    "tests/journeys/test_frozen_redis.py",
    "tests/journeys/test_service_returns.py",
    "tests/journeys/test_drill.py",
)
"""The files that break the running platform."""

USED_SITE_FILES = (
    "tests/journeys/test_api_processes.py",
    "tests/imissive/guide/test_guide_examples.py",
    "tests/journeys/test_journeys.py",
    "tests/journeys/test_magic_numbers.py",
    "tests/journeys/test_number_ranges.py",
    "tests/journeys/test_release.py",
    "tests/journeys/test_campaign_journey.py",
    "tests/messaging/log/test_exports_killed.py",
)
"""The files that mostly use it."""

SITE_FILES = (*KILLED_SITE_FILES, *USED_SITE_FILES)
"""The files of the running platform, which is started once for each of the two groups."""

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
    """xdist's `loadfile`, with each group of SITE_FILES as one file.

    Its `loadgroup` does not find groups with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file in KILLED_SITE_FILES:
            return "the running platform, killed"
        return "the running platform, used" if file in USED_SITE_FILES else file
