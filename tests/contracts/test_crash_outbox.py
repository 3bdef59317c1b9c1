"""kill -9 while letters that were put off are tried again: none goes out twice, none is forgotten."""

from pathlib import Path

from beamtime_ioc.testing.box_world import BoxWorld
from beamtime_ioc.testing.crash_matrix import crash_matrix
from waiting_letters import put_off


def test_killed_while_it_delivers_a_letter_goes_out_once_or_is_named_unsure(tmp_path: Path) -> None:
    with BoxWorld.started(tmp_path / "box") as box:
        matrix = crash_matrix(
            "deliver-outbox",
            world=box,
            actions=[put_off],
            after=["put-off"],
            directory=tmp_path / "lives",
        )

    assert matrix.failures == []
    assert len(matrix.endings) == 26
    assert [thing.counted_by for thing in matrix.things] == ["mail/log.jsonl"] * 2
    for thing in matrix.things:
        assert all(ending.count(thing) <= 1 for ending in matrix.endings)
        assert matrix.unsure_edges(thing.title) == [
            f"{edge}: {thing.title}" for edge in ("after claim", "before answer")
        ]
