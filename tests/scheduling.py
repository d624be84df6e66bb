"""Which process runs which tests: a file's in one, and those of one running platform in one."""

from xdist.scheduler import LoadFileScheduling

SITE_FILES = (
    "tests/test_nothing_lost.py",
    "tests/test_api_processes.py",
    "tests/test_guide_examples.py",
    "tests/test_journeys.py",
    "tests/test_magic_numbers.py",
    "tests/test_smpp_server_killed.py",
    "tests/test_release.py",
    "tests/test_campaign_journey.py",
    "tests/test_exports_killed.py",
    "tests/test_frozen_redis.py",
    "tests/test_service_returns.py",
    "tests/test_clocks.py",
)
"""Whose tests look at the running platform: it is started once for all of them."""

LONGEST_FIRST = (*SITE_FILES, "tests/test_launch.py", "tests/test_axe.py", "tests/test_admin.py")
"""What would be waited for if it came last."""


class BySite(LoadFileScheduling):
    """xdist's `loadfile`, with SITE_FILES as one. Its `loadgroup` finds no groups by pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the running platform" if file in SITE_FILES else file
