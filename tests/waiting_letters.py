"""An action after which letters wait, as if the relay had put them off an hour ago."""

from typing import Any

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment
from beamtime_ioc.ports import Mail


@action("put-off", resource="mail")
def put_off(run: Run, experiment: Experiment) -> None:
    """Write everybody's letter into the outbox, and that the relay wants it later."""
    mail: Any = run.service(Mail)
    for letter in mail.compose(experiment, run.site.places, run.id).letters:
        mail._outbox.claim(letter)
        mail._outbox.settle(letter.key, "deferred", "451 4.7.1 later")
