"""Where an IOC in C answers otherwise than ours, by record type and what was asked, each with its reason."""

from collections.abc import Mapping

TYPES = ("waveform", "stringout", "stringin", "bo", "bi", "mbbo", "mbbi", "longout", "longin", "ao", "ai")
INPUTS = ("bi", "mbbi", "longin", "ai", "stringin")


def same_for(types: tuple[str, ...], what: tuple[str, ...], why: str) -> dict[tuple[str, str], str]:
    return {(one, each): why for one in types for each in what}


DIFFERENT: Mapping[tuple[str, str], str] = {
    **same_for(
        TYPES, ("field STAT",), "a C record is undefined until it is processed; a file's value counts here"
    ),
    **same_for(
        tuple(sorted({*TYPES} - {"stringout"})),
        ("field SEVR", "field UDF"),
        "a C record is undefined until it is processed; what a file says is a value here",
    ),
    **same_for(
        tuple(sorted({*TYPES} - {"stringout", "longout", "ao"})),
        ("field AMSG",),
        "an alarm says here what it is about; in C only a few links give it a text",
    ),
    **same_for(
        (*INPUTS, "waveform"), ("rights",), "in C clients may write what only the IOC writes here: a report"
    ),
    ("waveform", "field NORD"): "a text that was never written has its closing NUL here, and no byte in C",
    ("bo", "field HIGH"): "a button goes back by itself when its action has ended",
    **same_for(("mbbo", "mbbi"), ("field FTVL",), "the value of a state: states are counted from 0"),
    **same_for(
        ("bo",),
        ("DBR 29", "DBR 30", "DBR 32", "DBR 33", "DBR 34"),
        "a bo has no limits; C sends those of the type of its field, 0 to 65535",
    ),
    **same_for(
        ("stringin",),
        tuple(f"DBR {kind}" for kind in range(35) if kind % 7 not in (0, 3)),
        "an empty text is no number here, and 0 in C",
    ),
    **same_for(
        ("longout", "ao", "ai"), ("DBR 32",), "a limit below 0 is 0 as a byte here, and cut to a byte in C"
    ),
    ("waveform", "put caput"): "plain caput to a CHAR array is a text here; C takes it for a number",
    **same_for(("bo", "mbbo"), ("put index out of range",), "C stores a state that there is not"),
    **same_for(("longout",), ("put too great a number",), "refused here beyond DRVL and DRVH, clipped in C"),
    **same_for(("ao",), ("put number",), "refused here beyond DRVL and DRVH, clipped in C"),
    **same_for(
        ("waveform",),
        (
            *(
                "pva control.limitHigh",
                "pva control.limitLow",
                "pva display.limitHigh",
                "pva display.limitLow",
            ),
            *("pva display.precision", "pva id", "pva value type"),
        ),
        "a text is a string over PVA here; of a template without Q:form QSRV makes an array of bytes",
    ),
    **same_for(("bo", "mbbo"), ("pvput no state",), "QSRV stores a state that there is not"),
    **same_for(("waveform",), ("pvput text", "pvput no text"), "an array of bytes takes no text from QSRV"),
    ("ao", "pvput not a number"): "a number is a number here",
}
