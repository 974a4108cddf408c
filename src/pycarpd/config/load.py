"""From a TOML file to a Config, or to every reason why not.

The file's syntax and rules are judged here without looking at the host; ``files`` looks at the files it names.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pycarpd.config.rules import breaches
from pycarpd.config.schema import (
    DEFAULTED_SECTIONS,
    REQUIRED_SECTIONS,
    SECTIONS,
    ArchiveSection,
    ClusterSection,
    Config,
    DrillSection,
    EtcdSection,
    HttpSection,
    MoosefsSection,
    NodeSection,
    Section,
)
from pycarpd.control.reports import Report, Severity, closest, report

FILE_BYTES_MAX = 1_000_000
"""No configuration is longer; a wrong path such as a device must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, with what is allowed but worth knowing."""

    config: Config
    notes: tuple[Report, ...]


def load(path: Path) -> Loaded | tuple[Report, ...]:
    """Return the configuration in *path*, or every problem of it at once."""
    text = _read(path)
    return text if isinstance(text, tuple) else loads(text, str(path))


def loads(text: str, name: str = "configuration") -> Loaded | tuple[Report, ...]:
    """Return the configuration in *text*; *name* is what a syntax error is reported against."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return (report("config-not-toml", str(error), key=name, rule="the file is TOML 1.0"),)
    return _judge(raw)


def _read(path: Path) -> str | tuple[Report, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            return (report("config-unreadable", f"is longer than {FILE_BYTES_MAX} bytes", key=str(path)),)
        return content.decode("utf-8")
    except OSError as error:
        return (report("config-unreadable", error.strerror or str(error), key=str(path)),)
    except UnicodeDecodeError as error:
        return (report("config-not-toml", f"is not UTF-8: {error.reason}", key=str(path)),)


def _judge(raw: dict[str, Any]) -> Loaded | tuple[Report, ...]:
    reports = _unknown_sections(raw)
    known: dict[str, Any] = {"moosefs": "moosefs" in raw, "etcd": "etcd" in raw}
    sections: dict[str, Section] = {}
    for name, model in SECTIONS.items():
        if name not in raw and name in REQUIRED_SECTIONS:
            reports.append(
                report("config-missing-key", f"the [{name}] table is missing", key=name, rule="it is required")
            )
        elif name in raw or name in DEFAULTED_SECTIONS:
            reports += _judge_section(name, model, raw.get(name, {}), sections, known)
    reports += breaches(known)
    if any(each.severity is Severity.ERROR for each in reports):
        return tuple(reports)
    return Loaded(_assembled(sections), tuple(reports))


def _unknown_sections(raw: Mapping[str, Any]) -> list[Report]:
    return [
        _unknown(name, name, list(SECTIONS), "the tables are " + ", ".join(SECTIONS))
        for name in raw
        if name not in SECTIONS
    ]


def _judge_section(
    name: str, model: type[Section], raw: Any, sections: dict[str, Section], known: dict[str, Any]
) -> list[Report]:
    """Validate one table; put it into *sections* when whole, and its sound keys into *known* in any case."""
    try:
        sections[name] = model.model_validate(raw)
        errors: list[ErrorDetails] = []
    except ValidationError as fault:
        errors = fault.errors()
    if isinstance(raw, dict):
        bad = {error["loc"][0] for error in errors if error["loc"]}
        for key, field in model.model_fields.items():
            if key not in bad:
                known[f"{name}.{key}"] = raw.get(key, field.default)
    return [_shape_report(name, model, error) for error in errors]


def _shape_report(section: str, model: type[Section], error: ErrorDetails) -> Report:
    key = _key_path(section, error["loc"])
    match error["type"]:
        case "extra_forbidden":
            keys = list(model.model_fields)
            return _unknown(key, str(error["loc"][-1]), keys, f"the keys of [{section}] are " + ", ".join(keys))
        case "missing":
            return report("config-missing-key", "is missing", key=key, rule="it is required")
        case _:
            value = error["input"]
            message = f"{value!r} is refused"
            return report("config-bad-value", message, key=key, value=value, rule=_rule_text(error["msg"]))


def _unknown(key: str, word: str, choices: list[str], rule: str) -> Report:
    near = closest(word, choices)
    hint = f"did you mean {near!r}?" if near else None
    return report("config-unknown-key", "is not known", key=key, value=word, rule=rule, hint=hint)


def _key_path(section: str, location: tuple[int | str, ...]) -> str:
    path = section
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


def _rule_text(message: str) -> str:
    return message.removeprefix("Input should be ").replace("Input should", "it should")


def _assembled(sections: dict[str, Section]) -> Config:
    return Config(
        node=cast("NodeSection", sections["node"]),
        cluster=cast("ClusterSection", sections["cluster"]),
        moosefs=cast("MoosefsSection | None", sections.get("moosefs")),
        archive=cast("ArchiveSection", sections["archive"]),
        drill=cast("DrillSection", sections["drill"]),
        http=cast("HttpSection | None", sections.get("http")),
        etcd=cast("EtcdSection | None", sections.get("etcd")),
    )
