"""Reading Orthanc's configuration files, and building one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from orthanc_async import _server_config
from orthanc_async._cli import _orthanc_json
from orthanc_async._cli._config_command import existing_server_config


def test_comments_are_left_out_and_strings_kept() -> None:
    """Both kinds of comment go, and what looks like one inside a string stays."""
    text = '{ // one\n "url": "http://x/*y*/", /* two\n lines */ "quote": "\\"//", "n": 1 }'
    assert _orthanc_json.parse(text) == {"url": "http://x/*y*/", "quote": '"//', "n": 1}


def test_variables_are_replaced() -> None:
    """Variables of the environment are filled in, with their default when they are not set."""
    text = '{"HttpPort": ${PORT:-8042}, "Name": "${NAME}", "Other": ${OTHER:-1}}'
    environment = {"NAME": "x", "OTHER": "2"}
    expected = {"HttpPort": 8042, "Name": "x", "Other": 2}
    assert _orthanc_json.parse(text, environment) == expected


def test_an_error_names_file_and_line(tmp_path: Path) -> None:
    """A comment of several lines does not shift the line that an error names."""
    file = tmp_path / "orthanc.json"
    file.write_text('{\n/* a\nb */\n"Name" "x"\n}')
    with pytest.raises(_orthanc_json.ConfigError, match=r"orthanc\.json:4: "):
        _orthanc_json.read(file)


@pytest.mark.parametrize("text", ["[]", "3", '"x"'])
def test_only_an_object_is_a_configuration(tmp_path: Path, text: str) -> None:
    """Any other JSON value is refused in a sentence."""
    file = tmp_path / "orthanc.json"
    file.write_text(text)
    with pytest.raises(_orthanc_json.ConfigError, match="must be one JSON object"):
        _orthanc_json.read(file)


@pytest.mark.parametrize(
    "text",
    [
        '{"HttpPort": "8042"}',
        '{"DicomPort": 70000}',
        '{"HttpPort": null}',
        '{"HttpPort": true}',
        '{"Plugins": "/a.so"}',
        '{"Plugins": [1]}',
    ],
)
def test_what_the_commands_use_has_the_right_type(tmp_path: Path, text: str) -> None:
    """Ports and lists of paths of another type are errors that name file and key."""
    file = tmp_path / "orthanc.json"
    file.write_text(text, "utf-8")
    (key,) = json.loads(text)
    with pytest.raises(_orthanc_json.ConfigError, match=rf'orthanc\.json: "{key}" must be'):
        _orthanc_json.read(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there gives an error with its path."""
    with pytest.raises(_orthanc_json.ConfigError, match=r"cannot read .*none\.json"):
        _orthanc_json.read(tmp_path / "none.json")


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    """All JSON files of a folder count, other files do not."""
    (tmp_path / "a.json").write_text('{"Name": "x"}')
    (tmp_path / "b.json").write_text('{"HttpPort": 1}')
    (tmp_path / "notes.txt").write_text("no JSON")
    assert _orthanc_json.read(tmp_path) == {"Name": "x", "HttpPort": 1}


def test_a_key_in_two_files_is_refused(tmp_path: Path) -> None:
    """Orthanc refuses a key that two files of a folder hold; both are named."""
    (tmp_path / "a.json").write_text('{"Name": "x"}')
    (tmp_path / "b.json").write_text('{"Name": "y"}')
    with pytest.raises(_orthanc_json.ConfigError, match=r'a\.json and .*b\.json hold "Name"'):
        _orthanc_json.read(tmp_path)


def test_relative_paths_belong_to_the_files_folder(tmp_path: Path) -> None:
    """Paths are made absolute as Orthanc would read them, absolute ones stay."""
    file = tmp_path / "orthanc.json"
    file.write_text('{"StorageDirectory": "db", "Plugins": ["p.so", "/q"], "SslCertificate": ""}')
    assert _orthanc_json.read(file) == {
        "StorageDirectory": str(tmp_path / "db"),
        "Plugins": [str(tmp_path / "p.so"), "/q"],
        "SslCertificate": "",
    }


def test_sections_are_merged() -> None:
    """Objects merge key by key at every depth; lists and values are replaced."""
    base = {"a": {"x": 1, "y": {"z": [1]}}, "b": [1], "c": 1}
    extra = {"a": {"y": {"z": [2], "w": 3}}, "b": [2]}
    expected = {"a": {"x": 1, "y": {"z": [2], "w": 3}}, "b": [2], "c": 1}
    assert _server_config.merged(base, extra) == expected
    assert base["a"] == {"x": 1, "y": {"z": [1]}}


def build(**changes: object) -> dict[str, object]:
    """Build a configuration with some arguments changed."""
    arguments: dict[str, object] = {
        "scripts": [Path("/s/a.py")],
        "plugins": ["/p.so"],
        "storage": Path("/db"),
        "http_port": 8042,
        "dicom_port": 4242,
        "public": False,
        "extra": {},
    }
    return _server_config.build(**{**arguments, **changes})  # type: ignore[arg-type]


def test_only_this_machine_may_connect() -> None:
    """Without `public`, HTTP is for this machine, and DICOM peers are checked by address."""
    config = build()
    assert config["RemoteAccessAllowed"] is False
    assert config["DicomCheckModalityHost"] is True
    assert config["DicomAlwaysAllowStore"] is False
    assert {peer[1] for peer in config["DicomModalities"].values()} == {"127.0.0.1"}  # type: ignore[attr-defined]


def test_public_opens_both_ports() -> None:
    """With `public`, Orthanc's own rules for DICOM peers hold."""
    config = build(public=True)
    assert config["RemoteAccessAllowed"] is True
    assert "DicomCheckModalityHost" not in config


def test_the_last_word_is_the_callers() -> None:
    """What the caller adds goes over everything, and joins section Python."""
    config = build(extra={"Python": {"Debug": True}, "HttpPort": 1})
    assert config["Python"] == {"Scripts": ["/s/a.py"], "Debug": True}
    assert config["HttpPort"] == 1


def test_no_dicom_server() -> None:
    """Without a DICOM port there is no DICOM server."""
    config = build(dicom_port=None)
    assert config["DicomServerEnabled"] is False
    assert "DicomPort" not in config


def test_existing_server_config_has_no_official_key() -> None:
    """The printed sections name scripts by our key only, and are JSON."""
    config = existing_server_config((Path("/s/a.py"), Path("/s/b.py")), Path("/opt/x.so"))
    assert json.loads(json.dumps(config)) == config
    assert config["Plugins"] == ["/opt/x.so"]
    assert config["Python"]["Scripts"] == ["/s/a.py", "/s/b.py"]
    assert "PythonScript" not in json.dumps(config)


def test_executable_is_named_only_for_another_environment() -> None:
    """A plugin inside this environment finds it by itself."""
    inside = Path(sys.prefix).absolute() / "lib" / "x.so"
    assert "Executable" not in existing_server_config((Path("/a.py"),), inside)["Python"]
    outside = existing_server_config((Path("/a.py"),), Path("/elsewhere/x.so"))
    assert outside["Python"]["Executable"] == sys.executable
