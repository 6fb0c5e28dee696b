"""The partition's settings."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages import bounds
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.commands import ChangeSettings
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.streams.core.step import Step, refuse


def change_settings(step: Step, command: ChangeSettings) -> None:
    """Change settings. Refused: unknown names, values out of bounds."""
    settings = command.settings
    if settings.version != Settings().version:
        message = f"Settings of version {settings.version} are not known here"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(settings.version), wanted=str(Settings().version))
    if command.names:
        for name in command.names:
            if name not in bounds.SETTINGS:
                known_names = ", ".join(bounds.SETTINGS)
                raise refuse(Reason.INVALID_PARAMETERS, f"There is no setting {name!r}", found=name, wanted=known_names)
        changes = {name: getattr(settings, name) for name in command.names}
        settings = msgspec.structs.replace(step.settings, **changes)
    for name, (least, most) in bounds.SETTINGS.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            message = f"{name} is {value}; {least:g} is the least and {most:.0f} the most"
            raise refuse(Reason.INVALID_PARAMETERS, message, found=str(value), wanted=f"{least:g} to {most:.0f}")
    step.transaction.edit_meta().settings = settings
    step.reply(Done())
