"""The checks in their order: this machine, the connection to the service, credentials, project, permissions."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from downloader.diagnosis import machine
from downloader.diagnosis.findings import Diagnosis, Finding
from downloader.diagnosis.service import PIXEL, SCENE, Answer, Inquiry
from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.client import Access
from downloader.earthengine.names import NO_PROJECT
from downloader.engine.connect import reach
from downloader.errors import AuthenticationError, Cause, DownloadError
from downloader.job import Job
from downloader.job.service_settings import ServiceSettings
from downloader.model.time import http_date

if TYPE_CHECKING:
    from pathlib import Path

    from google.auth.credentials import Credentials

    from downloader.earthengine.client import EarthEngine


_SKEW_S: Final = 30.0
_MUCH_SKEW_S: Final = 300.0
"""Seconds by which a clock may be off before a token's assertion is refused (docs/contract.md §2.3)."""

_CONSOLE: Final = "https://console.cloud.google.com/iam-admin/quotas"


async def examine(
    settings: Job | ServiceSettings, where: Path | str, credentials: Credentials | None = None
) -> Diagnosis:
    """Make all checks. What fails is a finding, not an exception.

    Args:
        settings: the service and the credentials to check.
        where: the path or URL that a mosaic is to be written to.
        credentials: a google-auth object in place of `settings.auth`.
    """
    findings = [machine.software(), *machine.place(where)]
    asked = 0
    try:
        async with reach(settings, credentials) as access, AsyncExitStack() as stack:
            anonymous = replace(access, auth=AuthSettings("none"), project=None, workload_tag=None)
            inquiry = Inquiry(await stack.enter_async_context(anonymous.client()))
            found, reachable = await _way(inquiry)
            findings += found
            client = await _signed_in(access, stack, findings)
            if client is not None and reachable:
                inquiry.client = client
                await _rights(inquiry, findings)
            asked = inquiry.asked
    except DownloadError as error:
        findings.append(Finding("service", "fail", str(error), "correct the job file"))
    return Diagnosis(tuple(findings), asked)


async def _way(inquiry: Inquiry) -> tuple[list[Finding], bool]:
    """Check without credentials that the service can be reached, and that its clock and ours agree."""
    client = inquiry.client
    host = urlsplit(client.standard).netloc
    answer = await inquiry.ask(f"{client.standard}/$discovery/rest?version=v1")
    if answer.problem is not None and answer.problem.status is None:
        remedy = _REACHING.get(answer.problem.cause, _UNREACHED)
        said = answer.problem.message
        return [Finding("endpoint", "fail", said if host in said else f"{host}: {said}", remedy)], False
    text = f"{host} answers, in {answer.seconds:.2f} s"
    return [Finding("endpoint", "ok", text), _clock(answer)], True


_REACHING: Final = {
    Cause.NO_ADDRESS: "look at the network and at name resolution; behind a proxy set HTTPS_PROXY",
    Cause.CERTIFICATE: "something between here and there shows a certificate of its own; set SSL_CERT_FILE to its authority's",
    Cause.PROXY: "look at HTTPS_PROXY, its user name and its password",
    Cause.PROXY_LOGIN: "look at HTTPS_PROXY, its user name and its password",
}
_UNREACHED: Final = "look at the network, at proxies and firewalls, and at service.endpoint"


def _clock(answer: Answer) -> Finding:
    there = http_date(answer.headers.get("date", ""))
    if there is None:
        return Finding("clock", "ok", "the service says no time; not compared")
    # A header counts whole seconds, and the answer was a moment on its way.
    skew = (datetime.now(UTC) - there).total_seconds() - answer.seconds / 2
    if abs(skew) <= _SKEW_S:
        return Finding("clock", "ok", "agrees with the service's")
    return Finding(
        "clock",
        "fail" if abs(skew) > _MUCH_SKEW_S else "warn",
        f"{abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the service's",
        "set this machine's clock, best by NTP: access tokens of a service account carry its time",
    )


async def _signed_in(access: Access, stack: AsyncExitStack, findings: list[Finding]) -> EarthEngine | None:
    """Open a client with credentials and add findings about them; return None if it cannot be opened."""
    try:
        client = await stack.enter_async_context(access.client())
    except AuthenticationError as error:
        findings.append(Finding("credentials", "fail", str(error)))
        return None
    except DownloadError as error:
        findings.append(Finding("project", "fail", str(error), "set service.project"))
        return None
    findings += [Finding("credentials", "warn", warning) for warning in client.warnings]
    return client


async def _rights(inquiry: Inquiry, findings: list[Finding]) -> None:
    """Add findings about credentials, project and permissions."""
    client = inquiry.client
    scene = _told(await inquiry.ask(SCENE))
    if scene.level == "ok" or scene.name == "project":
        findings.append(Finding("credentials", "ok", f"{client.credentials_in_use}; accepted"))
    if scene.level != "ok":
        findings.append(scene)
        return
    if client.project is None:
        text = "none named: the credentials' own project is billed, and computing may need one"
        findings.append(Finding("project", "warn", text, "set service.project, or --project"))
    else:
        findings.append(Finding("project", "ok", f"{client.project} is billed"))
        findings += await _registration(inquiry, client.project)
    body = {"fileFormat": "NPY", "bandIds": ["B2"], "grid": PIXEL}
    pixels = await inquiry.ask(f"{SCENE}:getPixels", body=body, base=client.high_volume)
    told = f"one pixel from {urlsplit(client.high_volume).netloc}, in {pixels.seconds:.2f} s"
    good = Finding("pixels", "ok", told) if pixels.is_good else replace(_told(pixels), name="pixels")
    findings += [good, await _computing(inquiry), _quota(client, pixels)]


async def _registration(inquiry: Inquiry, project: str) -> list[Finding]:
    """Return how the project is registered for Earth Engine; nothing where the service does not say."""
    state = str((await inquiry.ask(f"projects/{project}/config")).document.get("registrationState"))
    if state == "NOT_REGISTERED":
        text = f"{project} is not registered for Earth Engine"
        return [Finding("registration", "fail", text, _REMEDIES[Cause.NOT_REGISTERED])]
    return [Finding("registration", "ok", _REGISTRATION[state])] if state in _REGISTRATION else []


async def _computing(inquiry: Inquiry) -> Finding:
    """Check that expressions may be computed: composites, masks, resampling."""
    one, two = {"constantValue": 1}, {"constantValue": 2}
    call = {"functionName": "Number.add", "arguments": {"left": one, "right": two}}
    expression = {"result": "0", "values": {"0": {"functionInvocationValue": call}}}
    project = inquiry.client.project or NO_PROJECT
    answer = await inquiry.ask(f"projects/{project}/value:compute", body={"expression": expression})
    if answer.document.get("result") == 3:
        return Finding("computing", "ok", "expressions are computed: composites, masks, other grids")
    found = Finding("computing", "warn", "an unexpected answer") if answer.is_good else _told(answer)
    remedy = found.remedy or "jobs that read plain pixels work; composites, masks and resampling need this"
    return Finding("computing", "warn", found.text, remedy)


def _quota(client: EarthEngine, pixels: Answer) -> Finding:
    if client.restricted:
        return Finding(
            "quota",
            "warn",
            "the service restricts this project's parallelism: its monthly compute is used up",
            "runs go on, more slowly; see the project's Earth Engine plan",
        )
    if pixels.problem is not None and pixels.problem.status == 429:
        return Finding("quota", "warn", pixels.problem.message, "wait, or lower limits.concurrency")
    told = ", ".join(f"{name}: {value}" for name, value in client.headers.items() if "quota" in name)
    return Finding(
        "quota",
        "ok",
        told or "the service tells no figures; by default 40 requests at once and 100 a second",
        "" if told else f"the Earth Engine API's are shown at {_CONSOLE}",
    )


_REGISTRATION: Final = {
    "REGISTERED_COMMERCIALLY": "the project is registered for commercial use",
    "REGISTERED_NOT_COMMERCIALLY": "the project is registered for noncommercial use, which has a monthly quota",
}


_PAYING: Final = {
    Cause.SERVICE_DISABLED, Cause.USER_PROJECT_DENIED, Cause.NOT_REGISTERED, Cause.PROJECT_NOT_FOUND, Cause.NO_PROJECT,
    Cause.NO_COMPUTATIONS,
}  # fmt: skip
"""Causes that lie with the project."""

_ASKING: Final = {
    Cause.UNAUTHENTICATED, Cause.TOKEN_RENEWED, Cause.NO_CREDENTIALS, Cause.CREDENTIALS, Cause.NO_TOKEN, Cause.SCOPE, Cause.ASSET_DENIED,
    Cause.FRONT_END, Cause.FORBIDDEN_RATE, Cause.FORBIDDEN,
}  # fmt: skip
"""Causes that lie with the credentials."""

_SIGN_IN: Final = "sign in again, or give another key file; a clock that is wrong has the same effect"
_REMEDIES: Final = {
    Cause.CREDENTIALS: _SIGN_IN,
    Cause.TOKEN_RENEWED: _SIGN_IN,
    Cause.UNAUTHENTICATED: _SIGN_IN,
    Cause.NO_CREDENTIALS: "give credentials under auth, such as key_file, or --key-file",
    Cause.SERVICE_DISABLED: "enable the Earth Engine API in that project, or set another service.project",
    Cause.USER_PROJECT_DENIED: "set a service.project that these credentials may use, or have the role Service Usage Consumer granted",
    Cause.NOT_REGISTERED: "register the project at https://console.cloud.google.com/earth-engine/configuration",
    Cause.PROJECT_NOT_FOUND: "set service.project to a Cloud project that exists",
    Cause.NO_METHOD: "is service.endpoint the address of Earth Engine, or of an emulator of it?",
}


def _told(answer: Answer) -> Finding:
    """Return the finding about the account that follows from an answer; `ok` for a good one."""
    problem = answer.problem
    if problem is None:
        return Finding("credentials", "ok", "accepted")
    lies_with = {"project": _PAYING, "credentials": _ASKING}
    name = next((name for name, causes in lies_with.items() if problem.cause in causes), "endpoint")
    return Finding(name, "fail", problem.message, _REMEDIES.get(problem.cause, ""))
