"""What the doctor was asked to look at, and what is known of where it runs."""

from dataclasses import dataclass

from app.doctor.walk import Broken, Result, Skipped
from app.doctor.web import NoAnswerError
from app.errors import SettingsInvalid
from app.settings import Settings

NO_SETTINGS = Skipped("no APP_* variable is set here, so no service is to be started here")


@dataclass(frozen=True, slots=True)
class Address:
    """Where something may listen."""

    url: str
    option: str
    """The option that names it."""
    asked: bool
    """Whether it was named; else it is the usual one, where nobody need be."""

    def missed(self, error: NoAnswerError, remedy: str) -> Result:
        """What no answer there means."""
        if not self.asked and error.kind != "silent":
            return Skipped(f"{error}; {self.option} names another place")
        return Broken((str(error),), remedy)


@dataclass(frozen=True, slots=True)
class Manifests:
    """Rendered manifests."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go by OTLP."""

    endpoint: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Scope:
    """All of it."""

    settings: Settings | SettingsInvalid | None
    """Of a service that is started here; None if that is nobody's intention."""
    container: bool
    """Whether that service is alone in its container, so that all its callers come from outside."""
    service: Address | None
    ops: Address | None
    prometheus: Address | None
    alertmanager: Address | None
    programs: tuple[str, ...] = ()
    """Names or paths to look at in any case."""
    manifests: Manifests | None = None
    collector: Collector | None = None
    request: bool = False
    """Whether to send a real request."""
    api_key: str | None = None
