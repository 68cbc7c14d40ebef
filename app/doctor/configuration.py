"""Settings: would a service that is started here take them?"""

import asyncio
import os
from pathlib import Path

from app.doctor.scope import NO_SETTINGS, Scope
from app.doctor.walk import Broken, Ok, Result
from app.errors import SettingsInvalid

REMEDY = "Correct them where they are set; `python -m app serve --help` says what each may be."


def look(scope: Scope) -> Result:
    """The problems that `read_settings` tells, then those of the OTEL_* variables."""
    if scope.settings is None:
        return NO_SETTINGS
    if isinstance(scope.settings, SettingsInvalid):
        return Broken(tuple(scope.settings.message.splitlines()), REMEDY)
    if any(name.startswith("OTEL_") for name in os.environ):
        # Imported only then, since it brings OpenTelemetry's libraries.
        from app.telemetry.tracing import Tracing

        try:
            asyncio.run(Tracing(version="doctor", flush_timeout=1).close())
        except SettingsInvalid as error:
            return Broken((error.message,), REMEDY)
    where = ".env and the environment" if Path(".env").exists() else "the environment"
    return Ok((f"no wrong value in {where}",))
