"""Rows 1 to 11 of tests/contract/acceptance.md: credentials and projects."""

from __future__ import annotations

import json
import time

import google.oauth2.service_account
import httpx
import pytest
from google.auth import jwt
from google.auth.transport import Request, Response

from tests.contract.conftest import PROJECT, detail, error_of
from tests.oracle import QUICKSTART

ASSET = f"/v1/{QUICKSTART}"
LEGACY_ALGORITHMS = "/v1/projects/earthengine-legacy/algorithms"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class HttpxRequest(Request):
    """google-auth's transport over httpx, so that the official library itself asks for a token."""

    def __call__(self, url, method="GET", body=None, headers=None, timeout=None, **kwargs):
        answer = httpx.request(method, url, content=body, headers=headers, timeout=timeout, trust_env=False)

        class Answered(Response):
            status, headers, data = answer.status_code, answer.headers, answer.content

        return Answered()


def assertion(emulator, **changes):
    """A signed assertion of the emulator's own key file, with some claims changed."""
    key = json.loads(emulator.key_file.read_text())
    now = int(time.time())
    claims = {
        "iss": key["client_email"],
        "iat": now,
        "exp": now + 3600,
        "aud": "https://oauth2.googleapis.com/token",
        "scope": SCOPE,
        **changes,
    }
    signer = google.auth.crypt.RSASigner.from_service_account_info(key)
    return jwt.encode(signer, claims).decode()


def grant(api, text):
    return api.client.post("/token", data={"grant_type": GRANT, "assertion": text})


def test_row_001_no_credentials(api):
    error = error_of(api.get(ASSET, Authorization=None), 401, "UNAUTHENTICATED")
    assert error["message"].startswith("Request is missing required authentication credential.")
    assert detail(error)["reason"] == "CREDENTIALS_MISSING"


def test_row_002_nonsense_token(api):
    error = error_of(api.get(ASSET, Authorization="Bearer nonsense"), 401, "UNAUTHENTICATED")
    assert error["message"].startswith("Request had invalid authentication credentials.")


def test_row_003_expired_token_and_refresh(api, emulator):
    first = grant(api, assertion(emulator)).json()["access_token"]
    assert api.get(ASSET, Authorization=f"Bearer {first}").status_code == 200
    old = emulator.control("tokens", {"project": PROJECT, "life_s": 0})["access_token"]
    error = error_of(api.get(ASSET, Authorization=f"Bearer {old}"), 401, "UNAUTHENTICATED")
    assert error["message"].startswith("Request had invalid authentication credentials.")
    assert detail(error)["reason"] == "ACCESS_TOKEN_EXPIRED"
    fresh = grant(api, assertion(emulator)).json()["access_token"]
    assert api.get(ASSET, Authorization=f"Bearer {fresh}").status_code == 200


def test_row_004_token_endpoint(api, emulator):
    answer = grant(api, assertion(emulator))
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["expires_in"] == 3599
    assert answer.json()["access_token"]


def test_row_004_the_official_library_gets_a_token(api, emulator):
    credentials = google.oauth2.service_account.Credentials.from_service_account_file(
        emulator.key_file, scopes=[SCOPE]
    )
    credentials.refresh(HttpxRequest())
    answer = api.get(ASSET, Authorization=f"Bearer {credentials.token}", X_Goog_User_Project=None)
    assert answer.status_code == 200


def test_row_005_damaged_signature(api, emulator):
    head, body, signature = assertion(emulator).split(".")
    damaged = ("A" if signature[0] != "A" else "B") + signature[1:]
    answer = grant(api, f"{head}.{body}.{damaged}")
    assert answer.status_code == 400
    assert answer.json() == {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://example.com/token"},
        {"iss": "someone@else.iam.gserviceaccount.com"},
        {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600},
        {"exp": int(time.time()) + 9999},
        {"scope": ""},
    ],
    ids=["audience", "issuer", "clock", "long-lived", "no scope"],
)
def test_row_005_other_bad_assertions(api, emulator, changes):
    answer = grant(api, assertion(emulator, **changes))
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_grant", "invalid_scope")


def test_row_005_a_token_without_a_read_scope_opens_nothing(api, emulator):
    text = assertion(emulator, scope="https://www.googleapis.com/auth/drive")
    token = grant(api, text).json()["access_token"]
    error = error_of(api.get(ASSET, Authorization=f"Bearer {token}"), 403, "PERMISSION_DENIED")
    assert detail(error)["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_row_006_service_disabled(api):
    error = error_of(api.get(ASSET, X_Goog_User_Project="p-disabled"), 403, "PERMISSION_DENIED")
    info = detail(error)
    assert info["reason"] == "SERVICE_DISABLED"
    assert info["metadata"]["consumer"] == "projects/p-disabled"
    assert [one["@type"].rpartition(".")[2] for one in error["details"]] == ["ErrorInfo", "Help"]
    assert info["metadata"]["service"] == "earthengine.googleapis.com"
    assert error["message"].startswith(
        "Google Earth Engine API has not been used in project p-disabled before or it is disabled. Enable it by "
        "visiting https://console.developers.google.com/apis/api/earthengine.googleapis.com/overview"
        "?project=p-disabled then retry."
    )


def test_row_007_user_project_denied(api):
    error = error_of(api.get(ASSET, X_Goog_User_Project="p-denied"), 403, "PERMISSION_DENIED")
    assert detail(error)["reason"] == "USER_PROJECT_DENIED"
    assert detail(error, "Help")["links"]
    assert error["message"].startswith(
        "Caller does not have required permission to use project p-denied. Grant the caller the "
        "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission"
    )


def test_row_008_unregistered_project(api):
    answer = api.post(
        "/v1/projects/p-unregistered/image:computePixels", {"expression": {}}, X_Goog_User_Project=None
    )
    error = error_of(answer, 403, "PERMISSION_DENIED")
    assert error["message"] == (
        "Project p-unregistered is not registered to use Earth Engine. Visit https://console.cloud.google.com/"
        "earth-engine/configuration?project=p-unregistered to register your project. See "
        "https://developers.google.com/earth-engine/guides/access for more details."
    )


def test_projects_of_googles_own(api, emulator):
    """A caller without a project is charged to the client's own, which has not enabled the API (E41)."""
    token = emulator.control("tokens", {"project": "764086051850"})["access_token"]
    answer = api.get(ASSET, Authorization=f"Bearer {token}", X_Goog_User_Project=None)
    message = error_of(answer, 403, "PERMISSION_DENIED")["message"]
    assert message.startswith("Google Earth Engine API has not been used in project 764086051850 before")
    denied = error_of(api.get(ASSET, X_Goog_User_Project="517222506229"), 403, "PERMISSION_DENIED")
    assert denied["message"].startswith(
        "Caller does not have required permission to use project 517222506229."
    )
    good = api.get(ASSET, Authorization=f"Bearer {token}")
    assert good.status_code == 200


def test_who_is_not_signed_up(api):
    answer = api.get(ASSET, X_Goog_User_Project="p-not-signed-up")
    assert error_of(answer, 403, "PERMISSION_DENIED")["message"] == (
        "Not signed up for Earth Engine or project is not registered. "
        "Visit https://developers.google.com/earth-engine/guides/access"
    )


@pytest.mark.parametrize(
    ("project", "state"),
    [
        ("p-test-1", "REGISTERED_NOT_COMMERCIALLY"),
        ("p-unregistered", "NOT_REGISTERED"),
        ("p-not-signed-up", "NOT_REGISTERED"),
    ],
)
def test_a_projects_configuration(api, project, state):
    answer = api.get(f"/v1/projects/{project}/config", X_Goog_User_Project=None)
    assert answer.status_code == 200
    assert answer.json() == {"name": f"projects/{project}/config", "registrationState": state}


def test_a_configuration_needs_a_token_and_an_enabled_project(api):
    path = "/v1/projects/p-disabled/config"
    error_of(api.get(path, X_Goog_User_Project=None), 403, "PERMISSION_DENIED")
    error_of(api.get(path, Authorization=None), 401, "UNAUTHENTICATED")


def test_row_009_without_a_project_the_tokens_own_pays(api, emulator):
    token = emulator.control("tokens", {"project": "p-owner-1"})["access_token"]
    assert api.get(ASSET, Authorization=f"Bearer {token}", X_Goog_User_Project=None).status_code == 200
    assert emulator.control("requests")["requests"][-1]["project"] == "p-owner-1"


def test_row_010_legacy_project_stands_for_the_service_accounts_own(api, emulator):
    token = grant(api, assertion(emulator)).json()["access_token"]
    answer = api.get(LEGACY_ALGORITHMS, Authorization=f"Bearer {token}", X_Goog_User_Project=None)
    assert answer.status_code == 200
    assert emulator.control("requests")["requests"][-1]["project"] == PROJECT


def test_row_011_private_asset(api):
    name = "projects/p-private-1/assets/secret"
    error = error_of(api.get(f"/v1/{name}"), 403, "PERMISSION_DENIED")
    assert error["message"] == (
        f"Permission 'earthengine.assets.get' denied on resource '{name}' (or it may not exist)."
    )
    assert detail(error)["reason"] == "IAM_PERMISSION_DENIED"
    assert detail(error)["metadata"] == {"permission": "earthengine.assets.get", "resource": name}


def test_refresh_tokens_of_saved_user_credentials_work(api):
    form = {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s"}
    good = api.client.post("/token", data={**form, "refresh_token": "emulator-refresh-token"})
    assert api.get(ASSET, Authorization=f"Bearer {good.json()['access_token']}").status_code == 200
    bad = api.client.post("/token", data={**form, "refresh_token": "other"})
    assert (bad.status_code, bad.json()["error"]) == (400, "invalid_grant")


def test_an_ill_formed_project_is_not_found(api):
    error = error_of(api.get(ASSET, X_Goog_User_Project="No"), 404, "NOT_FOUND")
    assert error["message"] == "Project 'projects/No' not found or deleted."
