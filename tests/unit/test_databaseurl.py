"""The URL of the state database: taken apart once, and never with a password in it."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from beamtime_ioc.database import postgres_engine
from beamtime_ioc.databaseurl import DatabaseUrl

words = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,20}", fullmatch=True)
hosts = st.sampled_from(["db", "db.example.org", "127.0.0.1", "[::1]", "[2001:db8::7]"])
ports = st.none() | st.integers(1, 65535)
secrets = st.text(st.characters(codec="utf-8", exclude_characters="@"), min_size=4, max_size=20).map(
    lambda text: f"Zq{text}qZ"
)


@given(user=words, host=hosts, port=ports, database=words)
def test_what_is_written_is_what_is_connected_to(
    user: str, host: str, port: int | None, database: str
) -> None:
    place = host if port is None else f"{host}:{port}"
    account, name = quote(user, safe=""), quote(database, safe="")
    text = f"postgresql://{account}@{place}/{name}?passfile=/etc/pass&sslmode=require"

    url = DatabaseUrl.parse(text)
    theirs = make_url(text)
    ours = postgres_engine(url, "test").url

    assert (url.user, url.host, url.port, url.database) == (user, host, port, database)
    assert dict(url.options) == {"passfile": "/etc/pass", "sslmode": "require"}
    assert (ours.username, ours.host, ours.port, ours.database) == (
        theirs.username,
        theirs.host,
        theirs.port,
        theirs.database,
    )
    assert url.name == f"postgresql://{place}/{database}"


@given(secret=secrets, form=st.sampled_from(["u:{}@h/d", "u@h/d?password={}", "u:{}@h:1/d", ":{}@h/d"]))
def test_a_password_is_refused_and_not_repeated(secret: str, form: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        DatabaseUrl.parse("postgresql://" + form.format(secret))

    assert "Zq" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(max_size=40).map(lambda text: f"postgresql://{text}") | st.text(max_size=40))
def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    try:
        url = DatabaseUrl.parse(text)
    except ValueError:
        return

    assert url.database
    assert postgres_engine(url, "test").url.password is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("postgresql://u:secret@h/d", r"no password here, .* \?passfile=/FILE \(mode 0600"),
        ("postgresql://u@h/d?Password=x", "no password here"),
        ("postgres://u@h/d", "only postgresql:// is known; write postgresql://USER@HOST/DATABASE"),
        ("mysql://u@h/d", "only postgresql:// is known"),
        ("sqlite:///state.sqlite", "leave it out for SQLite"),
        ("postgresql+psycopg://u@h/d", "only postgresql:// is known"),
        ("postgresql://u@h", "database and user consist of"),
        ("postgresql://u@h/a/b", "database and user consist of"),
        ("postgresql://@h/d", "database and user consist of"),
        ("postgresql://u@h/d#x", "database and user consist of"),
        ("postgresql://u@h1,h2/d", "one host and its port"),
        ("postgresql://u@h:0/d", "one host and its port"),
        ("postgresql://u@h:/d", "one host and its port"),
        ("postgresql://u@h:70000/d", "write postgresql://USER@HOST"),
        ("postgresql://u@h:port/d", "write postgresql://USER@HOST"),
        ("postgresql://u@[::1/d", "write postgresql://USER@HOST"),
        ("postgresql://u@h/d?options=-c%20a", r"behind the \? stand passfile, .*, each once"),
        ("postgresql://u@h/d?sslmode=a&sslmode=b", r"behind the \? stand"),
        ("postgresql://u@h/d?passfile=pgpass", "passfile is a path that begins with /"),
        ("postgresql://u@h/d?passfile=", "passfile is a path that begins with /"),
        ("postgresql://u @h/d", "no blanks"),
        ("postgresql://u@h/d\n", "no blanks and no control characters"),
    ],
)
def test_what_is_refused_is_told_how_to_write_it(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DatabaseUrl.parse(text)


def test_without_a_host_it_is_the_server_of_this_computer() -> None:
    url = DatabaseUrl.parse("postgresql:///beamtime")

    assert (url.host, url.user, url.name) == ("", "", "postgresql:///beamtime")
    assert postgres_engine(url, "test").url.host is None
