"""Numbers that a record file gives, with EPICS' zero where it gives none."""

from ..records import Record


def number_of(record: Record, field: str) -> float:
    text = record.fields.get(field) or "0"
    return float(int(text, 16)) if "x" in text.lower() else float(text)


def display_limits(record: Record) -> tuple[float, float]:
    """Low and high end of the scale."""
    return number_of(record, "LOPR"), number_of(record, "HOPR")


def control_limits(record: Record) -> tuple[float, float]:
    """Low and high end of what may be put, as the C records announce it."""
    if record.type in ("ao", "longout"):
        return number_of(record, "DRVL"), number_of(record, "DRVH")
    return display_limits(record)
