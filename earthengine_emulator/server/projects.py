"""Who pays, and whether they may: the fixture projects of contract §10."""

from __future__ import annotations

from typing import Final

from earthengine_emulator.catalogue.catalogue import well_formed_project
from earthengine_emulator.server import errors
from earthengine_emulator.server.auth import Token

DISABLED: Final = "p-disabled"
DENIED: Final = "p-denied"
UNREGISTERED: Final = "p-unregistered"
LIMITED: Final = "p-limited"
RESTRICTED: Final = "p-restricted"
NOT_FOUND: Final = "p-deleted"
NO_COMPUTATIONS: Final = "p-readonly"
PRIVATE: Final = "projects/p-private-1/assets/"
LEGACY: Final = "earthengine-legacy"


def payer(token: Token, header: str | None, in_path: str | None) -> str:
    """The project a request is counted against: the user-project header, the path's project, or the token's own.

    `in_path` is given for methods under `projects/P/…`; `earthengine-legacy` there stands for the token's project
    (contract §2.1).
    """
    for project in (header, in_path):
        if project and project != LEGACY:
            return project
    return token.project


def check(project: str, deleted_status: int = 404) -> None:
    """Whether requests may be made in the name of a project.

    Raises:
        ApiError: with the text of E14, E15, E16, or of E22, whose status is a switch.
    """
    if project == DISABLED:
        raise errors.service_disabled(project)
    if project == DENIED:
        raise errors.user_project_denied(project)
    if project == UNREGISTERED:
        raise errors.project_unregistered(project)
    if project == NOT_FOUND or not well_formed_project(project):
        raise errors.project_not_found(project, deleted_status)


def check_computations(project: str) -> None:
    """Whether a project may compute (E18)."""
    if project == NO_COMPUTATIONS:
        raise errors.permission_denied("earthengine.computations.create", f"projects/{project}")


def check_asset(name: str) -> None:
    """Whether the caller may see an asset (E17)."""
    if name.startswith(PRIVATE):
        raise errors.permission_denied("earthengine.assets.get", name)
