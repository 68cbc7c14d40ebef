"""The settings: one frozen model, read once from `APP_*` environment variables and `.env`.

A value that is wrong, or a name that is unknown, ends the start with `SettingsInvalid` (exit code 78).
"""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.edge.limits import EdgeLimits
from app.errors import SettingsInvalid
from app.setting_groups import Count, Group, Seconds

PREFIX = "APP_"
Port = Annotated[int, Field(ge=0, le=65535)]


class Batching(Group):
    """How inputs are put together."""

    max_inputs: Count = Field(32, description="Inputs in one batch.")
    max_padding: int = Field(
        16, ge=0, description="Tokens of padding that an input may always bring to a batch."
    )
    hang_timeout: Seconds = Field(60, description="Seconds after which a running batch counts as hung.")


class Admission(Group):
    """How much work is let in."""

    max_request_inputs: Count = Field(2048, description="Inputs in one request.")
    max_inputs: Count = Field(8192, description="Admitted inputs of all requests together.")
    max_bytes: Count = Field(64 * 2**20, description="Admitted characters of all requests together.")
    max_wait: Seconds = Field(2, description="Seconds that a new request may be predicted to wait.")
    slo_wait: Seconds = Field(
        0.2, description="The wait in seconds that inference_saturation_ratio is measured by."
    )


class Telemetry(Group):
    """Traces are set up by the standard OTEL_* variables; this is what they leave open."""

    flush_timeout: Seconds = Field(
        3, description="Seconds for the last spans to reach the collector when the process ends."
    )
    log_sample_ratio: float = Field(
        1,
        ge=0,
        le=1,
        description="The share of requests that went well to log; the next line counts the others.",
    )
    log_slow: Seconds = Field(1, description="Seconds from which on a request is logged in any case.")
    log_refusals: Count = Field(
        10, description="Refusals for overload to log a second; the next line counts the others."
    )
    gpu_interval: Seconds = Field(5, description="Seconds between two looks at the GPUs.")
    gpu_deadline: Seconds = Field(2, description="Seconds after which a GPU's driver counts as hung.")


class Settings(BaseSettings):
    """All of them. Secrets are `SecretStr`, so that no message shows one."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_file=".env", frozen=True, extra="forbid"
    )

    host: str = Field("127.0.0.1", description="Address of the API; 0.0.0.0 in a container.")
    port: Port = Field(8000, description="Port of the API; 0 takes any free one.")
    ops_host: str = Field("127.0.0.1", description="Address of the operations port.")
    ops_port: Port = Field(9000, description="Port for metrics, console and health; 0 takes any free one.")

    model: str = Field(description="A model's folder, or the id of a hub model fetched before.", min_length=1)
    model_revision: str | None = Field(None, description="The commit that the model's manifest must name.")
    model_name: str | None = Field(
        None, description="The public name of the model; by default its folder's or its id's last part."
    )
    task: Literal["auto", "embeddings", "text-classification", "token-classification", "rerank"] = Field(
        "auto", description="What the model does; auto reads it from the model's config."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU if there is one.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Type of the weights."
    )
    threads: Count = Field(
        1,
        description="Threads of one batch on the CPU; batches run side by side as its quota has room, and "
        "one that is alone may have the threads of all.",
    )
    truncate: bool = Field(True, description="Cut inputs that are too long, unless a request says otherwise.")

    max_queue_tokens: Count = Field(131_072, description="Admitted tokens of all requests together.")
    max_batch_tokens: Count = Field(4096, description="Tokens in one batch, padding included.")
    request_timeout: Seconds = Field(
        10, description="Seconds for a request, from its first byte to its answer."
    )
    drain_delay: float = Field(
        0, ge=0, description="Seconds to go on serving after SIGTERM, while routes change."
    )
    drain_timeout: Seconds = Field(25, description="Seconds for accepted requests to end, after the delay.")
    canary_interval: Seconds = Field(
        5, description="Seconds without success before a canary checks the model."
    )

    termination_log: Path = Field(
        Path("/dev/termination-log"),
        description="The last words go there if it exists; `kubectl describe pod` shows them.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto is console on a terminal, json elsewhere."
    )
    trace_ui_url: str | None = Field(
        None,
        pattern=r"^https?://\S*\{trace_id\}\S*$",
        description="Where a person looks at a trace, with {trace_id} in it: the console links there.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Comma-separated keys; with any, the API wants one as a bearer token."
    )

    batching: Batching = Batching()
    admission: Admission = Admission()
    edge: EdgeLimits = EdgeLimits()
    telemetry: Telemetry = Telemetry()

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(key.strip() for key in value.split(",") if key.strip())

    @property
    def public_name(self) -> str:
        """What requests call the model."""
        return self.model_name or Path(self.model).name or self.model


def variables() -> Iterator[tuple[str, FieldInfo]]:
    """Every environment variable with its field, groups opened."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            for member, inner in field.annotation.model_fields.items():
                yield f"{PREFIX}{name}__{member}".upper(), inner
        else:
            yield f"{PREFIX}{name}".upper(), field


def read_settings() -> Settings:
    """Read the environment and `.env`. Raises `SettingsInvalid`, one line for each thing that is wrong."""
    known = [name for name, _ in variables()]
    given = {name.upper(): value for name, value in {**dotenv_values(".env"), **os.environ}.items()}
    problems = []
    for name in given:
        if name.startswith(PREFIX) and name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else "`python -m app serve --help` lists them all."
            problems.append(f"{name}: there is no such setting; {hint}")
    if problems:
        raise SettingsInvalid("\n".join(problems))
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsInvalid("\n".join(_explain(problem, given) for problem in error.errors())) from None


def _explain(problem: Any, given: dict[str, str | None]) -> str:
    path = [str(part) for part in problem["loc"]]
    name = PREFIX + "__".join(path).upper()
    message = problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "missing":
        return f"{name}: not set. {dict(variables())[name].description}"
    value = "" if name == "APP_API_KEYS" else f"={given.get(name)!r}"
    return f"{name}{value}: {message}."
