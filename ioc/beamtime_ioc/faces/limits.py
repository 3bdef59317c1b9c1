"""Limits of a number as clients are told of them."""

from beamtime_ioc.records import Record


def display_limits(record: Record) -> tuple[float, float]:
    """Low and high end of the scale."""
    return record.number("LOPR"), record.number("HOPR")


def control_limits(record: Record) -> tuple[float, float]:
    """Low and high end of what may be put, as the C records announce it."""
    if record.type in ("ao", "longout"):
        return record.number("DRVL"), record.number("DRVH")
    return display_limits(record)
