"""Model files: are they whole, the ones that are meant, and of a kind that is served?"""

from app.doctor.scope import NO_SETTINGS, Scope
from app.doctor.walk import Broken, Ok, Result
from app.errors import ModelError
from app.models.checkpoint import read_checkpoint
from app.models.folder import locate
from app.models.runner import Task
from app.models.weights import verify
from app.settings import Settings


def look(scope: Scope) -> Result:
    """Everything that loading would ask before it takes the weights. Reads every byte of them once."""
    settings = scope.settings
    if not isinstance(settings, Settings):
        return NO_SETTINGS
    folder = locate(settings.model)
    try:
        found = verify(folder)
        revision = found.manifest.revision if found.manifest else None
        if settings.model_revision not in {None, revision}:
            return Broken(
                (f"APP_MODEL_REVISION is {settings.model_revision}, {folder} is of {revision}",),
                "Fetch the right one (`python -m app model fetch --revision`), or change the setting.",
            )
        checkpoint = read_checkpoint(folder, "auto" if settings.task == "auto" else Task(settings.task))
    except ModelError as error:
        return Broken(
            (error.message,),
            f"When that is done, `python -m app model verify {folder}` tells whether the files are whole.",
        )
    summary = f"{folder}: {checkpoint.task}, {found.files} files, {found.size:,} bytes"
    return Ok((summary, *found.findings))
