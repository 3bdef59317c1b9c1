"""The two rules by which a text becomes a name for paths, held by a table of hostile and foreign names."""

import re
import unicodedata
from datetime import datetime
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.config import read_site_file
from beamtime_ioc.errors import SiteFileError
from beamtime_ioc.model import Beamtime, Person, Place, SafeName, Site
from beamtime_ioc.names import RULES, legacy_name

TABLE: dict[str, tuple[str, str]] = {
    # Names of people, in the letters of many languages.
    "Müller-Łukasik": ("Muller_Lukasik", "Muller-ukasik"),
    "Mu\u0308ller-\u0141ukasik": ("Muller_Lukasik", "Muller-ukasik"),
    "O'Brien": ("OBrien", "OBrien"),
    "O\u2019Brien": ("OBrien", "OBrien"),
    "García López": ("Garcia_Lopez", "Garcia_Lopez"),
    "Ørsted": ("Orsted", "rsted"),
    "Øster": ("Oster", "ster"),
    "Straße": ("Strasse", "Strae"),
    "Nguyễn": ("Nguyen", "Nguyen"),
    "Łoś": ("Los", "os"),
    "van der Berg": ("van_der_Berg", "van_der_Berg"),
    "de la Cruz": ("de_la_Cruz", "de_la_Cruz"),
    "Smith, Jr.": ("Smith_Jr", "Smith_Jr"),
    "d'Arc-Ney": ("dArc_Ney", "dArc-Ney"),
    "Þórsdóttir": ("Thorsdottir", "orsdottir"),
    "Çelik": ("Celik", "Celik"),
    "Ștefănescu": ("Stefanescu", "Stefanescu"),
    "Đorđević": ("Dordevic", "orevic"),
    "Żółć": ("Zolc", "Zoc"),
    "Åkesson": ("Akesson", "Akesson"),
    "Ñandú": ("Nandu", "Nandu"),
    "İnönü": ("Inonu", "Inonu"),
    "Işıl": ("Isil", "Isl"),
    "Ærø": ("Aero", "r"),
    "Œuvre": ("Oeuvre", "uvre"),
    "Ďurišová": ("Durisova", "Durisova"),
    "Őry": ("Ory", "Ory"),
    "Ģirts": ("Girts", "Girts"),
    "ʻOkina": ("Okina", "Okina"),
    "王": ("Wang", "Wang"),
    "小明": ("XiaoMing", "XiaoMing"),
    "李": ("Li", "Li"),
    "김민수": ("GimMinSu", "GimMinSu"),
    "たなか": ("tanaka", "tanaka"),
    "タナカ": ("tanaka", "tanaka"),
    "Иванов": ("Ivanov", "Ivanov"),
    "Ґалаґан": ("Galagan", "Galagan"),
    "Παπαδόπουλος": ("Papadopoylos", "Papadopoylos"),
    "Ελένη": ("Eleni", "Eleni"),
    "محمد": ("mhmd", "mhmd"),
    "שלום": ("slvm", "slvm"),
    "नमस्ते": ("nmste", "nmste"),
    "ไทย": ("aithy", "aithy"),
    "Հայկ": ("Hayk", "Hayk"),
    "ქართველი": ("kartveli", "kartveli"),
    "አበበ": ("abebe", "abebe"),
    "ᏣᎳᎩ": ("TsaLaGi", "TsaLaGi"),
    # What looks like letters, and what is not seen.
    "😀 Smile": ("grinning_Smile", "Smile"),
    "e\u0301\u0301\u0301": ("e", "e"),
    "Z\u0335a\u0336l\u0337g\u0338o": ("Zalgo", "Zalgo"),
    "ｆｕｌｌｗｉｄｔｈ": ("fullwidth", "fullwidth"),
    "ﬁne": ("fine", "fine"),
    "Ⅷ": ("VIII", "VIII"),
    "²nd": ("2nd", "2nd"),
    "a\u200bb": ("ab", "ab"),
    "\u202egnp.exe": ("gnp_exe", "gnpexe"),
    "\ufeffBom": ("Bom", "Bom"),
    "\xa0nbsp\xa0": ("nbsp", "nbsp"),
    "a\u2028b": ("a_b", "ab"),
    "a\nb\tc": ("a_b_c", "a_b_c"),
    "a\x00b": ("a_b", "ab"),
    "\x1b[31mred": ("31mred", "31mred"),
    "\ud800": ("unknown", "unknown"),
    # What a shell, a path, a template, a database or a program would obey.
    "-rf": ("rf", "rf"),
    "--help": ("help", "help"),
    "..": ("unknown", "unknown"),
    "../..": ("unknown", "unknown"),
    "../../etc": ("etc", "etc"),
    "...": ("unknown", "unknown"),
    "a..b": ("a_b", "ab"),
    "/etc/passwd": ("etc_passwd", "etcpasswd"),
    "~/.ssh": ("ssh", "ssh"),
    ".hidden": ("hidden", "hidden"),
    "a\\b": ("a_b", "ab"),
    "C:\\temp": ("C_temp", "Ctemp"),
    "x; touch y": ("x_touch_y", "x_touch_y"),
    "x; touch PWNED; #": ("x_touch_PWNED", "x_touch_PWNED"),
    "$HOME": ("HOME", "HOME"),
    "$(reboot)`id`": ("reboot_id", "rebootid"),
    "a|b&c>d<e": ("a_b_c_d_e", "abcde"),
    "*?[]": ("unknown", "unknown"),
    "%2e%2e%2f": ("2e_2e_2f", "2e2e2f"),
    "%s%n": ("s_n", "sn"),
    "{start}": ("start", "start"),
    "{{7*7}}": ("7_7", "77"),
    "'; DROP TABLE x; --": ("DROP_TABLE_x", "DROP_TABLE_x"),
    "<script>": ("script", "script"),
    "@host:": ("host", "host"),
    "user@host": ("user_host", "userhost"),
    "Renée/Zoë": ("Renee_Zoe", "ReneeZoe"),
    # Nothing, too much, and names that a system has taken.
    "": ("unknown", "unknown"),
    "   ": ("unknown", "unknown"),
    "_": ("unknown", "unknown"),
    "__init__": ("init", "init"),
    "CON": ("unknown", "unknown"),
    "con.": ("unknown", "unknown"),
    "com1": ("unknown", "unknown"),
    "LPT9": ("unknown", "unknown"),
    "nul.txt": ("nul_txt", "nultxt"),
    "None": ("None", "None"),
    "007": ("007", "007"),
    "n" * 300: ("n" * 40, "n" * 40),
    "n" * 39 + " " + "m" * 300: ("n" * 39, "n" * 39),
    "con" + "-" * 50: ("unknown", "unknown"),
}

"""By text: its name by the rule `safe`, and by `legacy`."""

NAME = {
    "safe": re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*"),
    "legacy": re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?"),
}
START = "2026-11-20T08:00:00-06:00"


@pytest.mark.parametrize(("text", "names"), TABLE.items(), ids=range(len(TABLE)))
def test_each_name_of_the_table_has_its_safe_and_its_legacy_form(text: str, names: tuple[str, str]) -> None:
    assert (SafeName.of(text), legacy_name(text)) == names


def test_no_name_at_all_is_unknown() -> None:
    assert (SafeName.of(None), legacy_name(None)) == ("unknown", "unknown")


@pytest.mark.parametrize("rule", RULES)
def test_no_name_that_windows_has_taken_reaches_a_path(rule: str) -> None:
    ports = [f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10)]
    taken = ["CON", "PRN", "AUX", "NUL", *ports]

    made = {RULES[rule](text) for name in taken for text in (name, name.lower(), name.title(), f" {name}. ")}

    assert made == {"unknown"}


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(TABLE) >= 60


@pytest.mark.parametrize("rule", RULES)
@given(text=st.text(max_size=200))
def test_any_text_becomes_a_short_name_that_no_path_takes_for_something_else(rule: str, text: str) -> None:
    name = RULES[rule](text)

    assert NAME[rule].fullmatch(name)
    assert len(name) <= 40
    assert RULES[rule](name) == name
    assert RULES[rule](unicodedata.normalize("NFD", text)) == RULES[rule](unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("text", TABLE, ids=range(len(TABLE)))
@pytest.mark.parametrize("rule", RULES)
def test_no_name_of_the_table_leaves_its_level(rule: str, text: str) -> None:
    site = Site(prefix="x:", beamline="x", zone=ZoneInfo("America/Chicago"), names=rule)
    begin, people = datetime.fromisoformat(START), (Person(last_name=text, is_pi=True),)
    beamtime = Beamtime(
        source="aps", id=text, start=begin, end=begin, proposal=text, cycle=text, people=people
    )

    experiment = site.experiment(beamtime)
    place = Place(name="det1", top=PurePosixPath("/data"), path="{cycle}/{pi}/{proposal}/{name}", names=rule)

    levels = place.path_for(experiment).relative_to("/data").parts
    assert len(levels) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", level) for level in levels)
    assert experiment.name.startswith("2026-11-")


@pytest.mark.parametrize(
    ("rule", "name"), [("safe", "2026-11-Muller_Lukasik-1"), ("legacy", "2026-11-Muller-ukasik-1")]
)
def test_a_site_chooses_its_rule(tmp_path: Path, rule: str, name: str) -> None:
    file = tmp_path / "site.yaml"
    text = (
        f"prefix: 'x:'\nbeamline: x\ntimezone: America/Chicago\nstate: state\nexperiment: {{names: {rule}}}\n"
    )
    file.write_text(text + f"places: [{{name: det1, top: {tmp_path}, path: '{{pi}}'}}]\n")
    begin, people = datetime.fromisoformat(START), (Person(last_name="Müller-Łukasik", is_pi=True),)

    site = read_site_file(file).site()

    experiment = site.experiment(Beamtime(source="aps", id="1", start=begin, end=begin, people=people))
    assert experiment.name == name
    assert site.places[0].path_for(experiment).name == name[8:-2]


def test_a_rule_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("prefix: 'x:'\nbeamline: x\ntimezone: UTC\nexperiment: {names: unsafe}\n")

    with pytest.raises(SiteFileError, match=r"site.yaml:4: experiment.names: .*'safe' or 'legacy'"):
        read_site_file(file)
