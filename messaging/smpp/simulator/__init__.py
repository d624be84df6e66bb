"""An SMSC that behaves, and misbehaves, as it is told; the demo's carrier and the tests' one.

It is no part of the platform's own path of a message, and needs neither Django nor a database:
`python -m messaging.smpp.simulator --help`. What becomes of a message is decided by its
destination (behaviours.py); what is wrong with the carrier itself by the options (options.py),
which may be changed while it runs.
"""

from messaging.smpp.simulator.options import Options
from messaging.smpp.simulator.server import Simulator
from messaging.smpp.simulator.submits import Submit

__all__ = ["Options", "Simulator", "Submit"]
