"""The session of the official client that runs in this process, if there is one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


def live_session() -> tuple[Credentials | None, str | None]:
    """Return credentials and project that `ee.Initialize` was given in this process; None for what it was not.

    The client is looked at, never imported. It has no public call that returns its credentials.
    """
    data: Any = sys.modules.get("ee.data")
    try:
        if data is None or not data.is_initialized():
            return None, None
        state = data._get_state()  # noqa: SLF001  # see above
        project = state.cloud_api_user_project
        is_own = project not in {None, "earthengine-legacy"}
        return state.credentials, project if is_own else None
    except AttributeError:  # an older or newer client that keeps them elsewhere
        return None, None
