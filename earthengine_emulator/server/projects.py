"""The project that pays for a request, and the fixture projects of docs/contract.md §10."""

from __future__ import annotations

from typing import Final

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.catalogue import well_formed_project
from earthengine_emulator.server.auth import Token

DISABLED: Final = "p-disabled"
DENIED: Final = "p-denied"
UNREGISTERED: Final = "p-unregistered"
RESTRICTED: Final = "p-restricted"
NOT_FOUND: Final = "p-deleted"
NOT_SIGNED_UP: Final = "p-not-signed-up"
SDK_PROJECTS: Final = (
    "764086051850",
    "618104708054",
    "32555940559",
    "522309567947",
    "1014160490159",
    "1057398310658",
)
"""Projects of Google's own, whose numbers errors name where the caller has no project (E41)."""
SDK_DENIED: Final = "517222506229"
NO_COMPUTATIONS: Final = "p-readonly"
LEGACY: Final = "earthengine-legacy"


def payer(token: Token, header: str | None, in_path: str | None) -> str:
    """Return the project a request is counted against: the user-project header, the path's project, or the token's own.

    `in_path` is given for methods under `projects/P/…`; `earthengine-legacy` there stands for the token's project
    (docs/contract.md §2.1).
    """
    for project in (header, in_path):
        if project and project != LEGACY:
            return project
    return token.project


def check(project: str, deleted_status: int = 404, *, registered: bool = True) -> None:
    """Refuse projects in whose name no request may be made; `registered`: also those that are not registered.

    Raises:
        ApiError: with the text of E14, E15, E16, E39, or of E22, whose status is a switch.
    """
    if project == DISABLED or project in SDK_PROJECTS:
        raise errors.service_disabled(project)
    if project in (DENIED, SDK_DENIED):
        raise errors.user_project_denied(project)
    if registered and project == NOT_SIGNED_UP:
        raise errors.not_signed_up()
    if registered and project == UNREGISTERED:
        raise errors.project_unregistered(project)
    if project == NOT_FOUND or not well_formed_project(project):
        raise errors.project_not_found(project, deleted_status)


def check_computations(project: str) -> None:
    """Refuse computations in the name of a project that may not compute (E18)."""
    if project == NO_COMPUTATIONS:
        raise errors.permission_denied("earthengine.computations.create", f"projects/{project}")


def registration_state(project: str) -> str:
    """Return the `registrationState` of a project's configuration (docs/contract.md §1.2)."""
    return "NOT_REGISTERED" if project in (UNREGISTERED, NOT_SIGNED_UP) else "REGISTERED_NOT_COMMERCIALLY"
