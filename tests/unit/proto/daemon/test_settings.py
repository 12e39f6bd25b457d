"""Layered settings: the order of layers, typing, origins, and a sentence for each mistake."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

import pytest

from flopmeter_core.errors import FlopmeterError, InvariantError, UsageError
from flopmeter_proto.daemon.settings import fields_of, load, setting


class Colour(enum.StrEnum):
    """An enumeration a setting may have."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Example:
    """One field of each type."""

    collector: str = setting("127.0.0.1:8425", description="Where to report.")
    period_s: float = setting(1.0)
    retries: int = setting(3)
    plaintext: bool = setting(False)
    state: Path = setting(Path("/var/lib/x"))
    ca: Path | None = setting(None)
    colour: Colour = setting(Colour.RED)
    tags: tuple[str, ...] = setting(())

    def __post_init__(self) -> None:
        """Refuse a period that is not above 0."""
        if self.period_s <= 0:
            raise UsageError("period_s must be above 0")


@dataclass(frozen=True)
class Needy:
    """A schema with a required key."""

    cluster: str = setting()


def write(folder: Path, text: str) -> Path:
    """Write a settings file."""
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def refusal(file: Path | None = None, **layers: object) -> FlopmeterError:
    """The error a load ends in."""
    environ = {k: str(v) for k, v in layers.items() if k.startswith("FLOPMETER_")}
    flags = {k: v for k, v in layers.items() if not k.startswith("FLOPMETER_")}
    with pytest.raises(FlopmeterError) as caught:
        load(Example, file=file, environ=environ, flags=flags)
    return caught.value


def test_layers(tmp_path: Path) -> None:
    """A flag beats the environment, which beats the file, which beats the default."""
    file = write(tmp_path, 'collector = "f:1"\nretries = 5\nperiod_s = 2\n')
    loaded = load(
        Example,
        file=file,
        environ={"FLOPMETER_RETRIES": "6", "FLOPMETER_COLLECTOR": "e:1"},
        flags={"collector": "flag:1", "retries": None, "period_s": None},
    )
    assert loaded.config == Example(collector="flag:1", retries=6, period_s=2.0)
    assert loaded.origins == {
        "collector": "flag --collector",
        "retries": "environment FLOPMETER_RETRIES",
        "period_s": f"file {file}",
        "plaintext": "default",
        "state": "default",
        "ca": "default",
        "colour": "default",
        "tags": "default",
    }
    assert isinstance(loaded.config.period_s, float)


def test_types_from_text() -> None:
    """Environment and flags are texts; each becomes its field's type."""
    loaded = load(
        Example,
        file=None,
        environ={"FLOPMETER_PLAINTEXT": "yes", "FLOPMETER_TAGS": "a, b", "FLOPMETER_CA": ""},
        flags={"state": "/s", "colour": "blue", "period_s": "0.5", "retries": "7"},
    )
    assert loaded.config == Example(
        plaintext=True,
        tags=("a", "b"),
        ca=None,
        state=Path("/s"),
        colour=Colour.BLUE,
        period_s=0.5,
        retries=7,
    )


def test_types_from_file(tmp_path: Path) -> None:
    """The file's own types are kept; texts become paths and enumerations."""
    file = write(
        tmp_path, 'plaintext = true\nstate = "/s"\nca = "/c"\ncolour = "blue"\ntags = ["a"]\n'
    )
    config = load(Example, file=file, environ={}, flags={}).config
    assert config == Example(
        plaintext=True, state=Path("/s"), ca=Path("/c"), colour=Colour.BLUE, tags=("a",)
    )


def test_unknown_key(tmp_path: Path) -> None:
    """A misspelt key is an error that names key, file and the likely spelling."""
    file = write(tmp_path, "perod_s = 2\n")
    error = refusal(file)
    assert error.exit_code == 64
    assert str(error) == f"{file} has an unknown key 'perod_s'; did you mean 'period_s'?"


def test_unknown_key_without_likeness(tmp_path: Path) -> None:
    """A key like no other lists those there are."""
    assert "the keys are ca, collector, colour" in str(refusal(write(tmp_path, "zzz = 2\n")))


def test_unknown_variables_are_ignored() -> None:
    """A cluster's own FLOPMETER_ variables do not stop a daemon."""
    environ = {"FLOPMETER_COLLECTOR_SERVICE_HOST": "10.0.0.1"}
    assert load(Example, file=None, environ=environ, flags={}).config == Example()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('period_s = "fast"', "period_s must be a number, not 'fast'"),
        ("retries = 1.5", "retries must be a whole number, not 1.5"),
        ("retries = true", "retries must be a whole number, not True"),
        ("period_s = true", "period_s must be a number, not True"),
        ("plaintext = 1", "plaintext must be true or false, not 1"),
        ("collector = 1", "collector must be a text, not 1"),
        ('colour = "green"', "colour must be one of red, blue, not 'green'"),
        ('tags = "a"', "tags must be a list, each a text, not 'a'"),
        ("tags = [1]", "tags must be a text, not 1"),
        ("period_s = nan", "period_s must be a number, not nan"),
        ("period_s = inf", "period_s must be a number, not inf"),
        ("period_s = 0", "period_s must be above 0"),
        ("period_s", "is not valid TOML"),
        ("state = []", "state must be a path, not []"),
    ],
)
def test_wrong_file(tmp_path: Path, text: str, sentence: str) -> None:
    """Each wrong value of a file is refused in words."""
    error = refusal(write(tmp_path, text + "\n"))
    assert isinstance(error, UsageError)
    assert sentence in str(error)


@pytest.mark.parametrize(
    ("layer", "text", "sentence"),
    [
        ("FLOPMETER_RETRIES", "many", "FLOPMETER_RETRIES must be a whole number, not 'many'"),
        ("FLOPMETER_PLAINTEXT", "maybe", "FLOPMETER_PLAINTEXT must be true or false"),
        ("FLOPMETER_RETRIES", "", "FLOPMETER_RETRIES must be a whole number, not ''"),
        ("period_s", "nan", "--period-s must be a number, not nan"),
        ("colour", "green", "--colour must be one of red, blue, not 'green'"),
    ],
)
def test_wrong_text(layer: str, text: str, sentence: str) -> None:
    """Each wrong text of the environment or a flag names where it stands."""
    error = refusal(None, **{layer: text})
    assert isinstance(error, UsageError)
    assert sentence in str(error)


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    """Bytes that are no text are refused in words."""
    file = tmp_path / "x.toml"
    file.write_bytes(b"collector = '\xff'\n")
    assert "is not valid TOML" in str(refusal(file))


def test_missing_file(tmp_path: Path) -> None:
    """A file a person named has to exist; the usual place may be empty."""
    file = tmp_path / "no.toml"
    assert str(refusal(file)) == (
        f"{file} cannot be read: No such file or directory; write it or name another"
    )
    load(Example, file=file, environ={}, flags={}, file_must_exist=False)


def test_unreadable_file(tmp_path: Path) -> None:
    """A folder in the file's place is said."""
    assert "cannot be read: Is a directory" in str(refusal(tmp_path))


def test_required_key(tmp_path: Path) -> None:
    """A required key nobody set names every place to set it."""
    with pytest.raises(UsageError) as caught:
        load(Needy, file=None, environ={}, flags={"cluster": None})
    assert str(caught.value) == ("cluster is not set; set FLOPMETER_CLUSTER or --cluster")
    loaded = load(Needy, file=None, environ={"FLOPMETER_CLUSTER": "c"}, flags={})
    assert loaded.config == Needy(cluster="c")


def test_unknown_flag_is_a_defect() -> None:
    """A flag that is no key is the program's mistake, not the user's."""
    assert isinstance(refusal(None, nonsense="1"), InvariantError)


def test_field_of_unreadable_type() -> None:
    """A schema with a type settings cannot read fails at once."""

    @dataclass(frozen=True)
    class Odd:
        table: dict[str, str] = setting(None)

    with pytest.raises(InvariantError):
        fields_of(Odd)


def test_spelling() -> None:
    """A key's flag and variable follow from its name."""
    entry = fields_of(Example)[1]
    assert (entry.key, entry.flag, entry.variable) == (
        "period_s",
        "--period-s",
        "FLOPMETER_PERIOD_S",
    )
    assert fields_of(Example)[0].description == "Where to report."
