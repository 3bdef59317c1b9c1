"""Two buttons of a site's own: a note that cannot be looked up, and a copy that takes its time."""

import secrets
from functools import partial

from chaos_errands import Errands

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment

COPY_BYTES = 1_000_000


@action("post-note", resource="notes")
def post_note(run: Run, experiment: Experiment) -> None:
    """Tell the facility's log book that the experiment is set up."""
    text = f"set up: {experiment.key}"
    run.once(f"note of {experiment.key}", partial(run.service(Errands).post_note, text))


@action("copy-data", resource="copies")
def copy_data(run: Run, experiment: Experiment) -> None:
    """Start a copy of the data, and wait until it is done."""
    errands = run.service(Errands)
    # Remembered: after a crash a new number would be a second copy.
    name = run.step("number of the copy", lambda: f"{experiment.key}-{secrets.token_hex(4)}")
    find = partial(errands.find_copy, name)
    run.effect(f"copy {name}", look=find, make=partial(errands.start_copy, name, COPY_BYTES), verify=find)
    while (found := find()) and found["state"] != "done":
        run.progress(found["done_bytes"] / found["bytes"], f"{found['done_bytes']} bytes are copied")
        run.sleep(0.1)
