"""A simulated SMSC, well-behaved or faulty by its options: the carrier of the demo and the tests.

The platform does not depend on it, and it needs neither Django nor a database:
`python -m messaging.smpp.simulator --help`. A message's destination decides its outcome
(behaviours.py); the options decide the carrier's own faults (options.py), and may change while it
runs.
"""

from messaging.smpp.simulator.options import Options
from messaging.smpp.simulator.server import Simulator
from messaging.smpp.simulator.submits import Submit

__all__ = ["Options", "Simulator", "Submit"]
