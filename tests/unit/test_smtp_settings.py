"""The section `mail` of a site file."""

from typing import Any

import pydantic
import pytest

from beamtime_handlers.clients.smtp_mail import Settings

LIVE = {"mode": "live", "relay": "relay.example.org", "sender": "bm99@example.edu"}


def test_without_a_word_nobody_is_mailed() -> None:
    assert Settings().mode == "dry-run"


def test_off_without_quotes_is_off_though_yaml_reads_it_as_false() -> None:
    assert Settings.model_validate({"mode": False}).mode == "off"


@pytest.mark.parametrize(("connection", "port"), [("relay", 25), ("starttls", 587), ("tls", 465)])
def test_each_kind_of_connection_has_its_port(connection: Any, port: int) -> None:
    assert Settings(connection=connection).relay_port == port
    assert Settings(connection=connection, port=2525).relay_port == 2525


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"relay": ""}, "mode live needs `relay`"),
        ({"sender": ""}, "mode live needs `sender`"),
        ({"mode": "test"}, "mode test needs `contact`"),
        ({"mode": "on"}, "'off', 'dry-run', 'test' or 'live'"),
        ({"user": "bm99", "password_file": "p"}, "a login needs connection starttls or tls"),
        ({"user": "bm99", "connection": "tls"}, "`user` needs `password_file`"),
        ({"user": "bmé", "connection": "tls", "password_file": "p"}, "other than ASCII"),
        ({"sender": "bm99"}, "'bm99' is not an address such as"),
        ({"sender": "a@example.org\nBcc: b@example.org"}, "is not an address such as"),
        ({"contact": "staff at example.org"}, "is not an address such as"),
        ({"sender": "Beamline <bm99@bücher.example>"}, "is not an address such as"),
        ({"relay": "relay.example.org:25/x"}, "is not the name of a computer"),
        ({"relay": "relay..example.org"}, "is not the name of a computer"),
        ({"domain": "example.org>"}, "is not a domain such as"),
        ({"allow": ["example org"]}, "'example org' is not a domain such as"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"timeout_s": 0}, "greater than 0"),
        ({"port": 70000}, "less than or equal to 65535"),
        ({"relais": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_is_refused_in_words(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(pydantic.ValidationError) as error:
        Settings(**{**LIVE, **changed})

    assert sentence in str(error.value)


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("given", "domain"),
    [
        ({}, "beamtime.invalid"),
        ({"sender": "Beamline <bm99@example.edu>"}, "example.edu"),
        ({"sender": "bm99@example.edu", "domain": "mail.example.org"}, "mail.example.org"),
    ],
)
def test_the_message_id_ends_in_a_domain(given: dict[str, Any], domain: str) -> None:
    assert Settings(**given).message_domain == domain
