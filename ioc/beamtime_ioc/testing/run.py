"""A run for a test of a handler: real effects, no engine."""

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from beamtime_ioc.action import Action
from beamtime_ioc.engine.engine import Order, new_run_id
from beamtime_ioc.engine.inline import MemoryRecorder
from beamtime_ioc.engine.plan import PlanRun
from beamtime_ioc.engine.work import LiveRun
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.model import Experiment, Site, Who
from beamtime_ioc.progress import Progress

TEST_SITE = Site(prefix="99bm:Beamtime:", beamline="99-BM-A,B", zone=ZoneInfo("America/Chicago"))


class FakeRun(LiveRun):
    """Does what a handler says, remembers it, and tells nobody.

    Parameters
    ----------
    services
        By section: `{"hosts": my_hosts}` is what `run.service(Hosts)` gives.
    actions
        What `run.call` may call.
    pressed
        Name of the action that was pressed.

    Attributes
    ----------
    steps
        The checklist; `problems` and `unknown` as an operator would see them.
    history
        Every progress post.
    """

    def __init__(
        self,
        *,
        site: Site = TEST_SITE,
        services: Mapping[str, object] | None = None,
        actions: Sequence[Action] = (),
        experiment: Experiment | None = None,
        run_id: str = "",
        pressed: str = "a-test",
    ) -> None:
        workshop = Workshop(
            actions={action.name: action for action in actions}, services=services or {}, site=site
        )
        order = Order(
            id=run_id or new_run_id(),
            action=pressed,
            resource="test",
            who=Who(via="local", user="tester"),
            experiment=experiment,
        )
        self.history: list[Progress] = []
        super().__init__(order, workshop, MemoryRecorder(), self.history.append)

    def planning(self) -> PlanRun:
        """The same run as a preview; its `lines` are the plan."""
        return PlanRun(self.order, self.workshop)
