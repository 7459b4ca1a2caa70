"""Finding credentials: the chain, files that are broken in every way, and what google-auth's errors come to."""

import base64
import contextlib
import http.server
import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from downloader.earthengine.auth import find
from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.auth.issuers import GoogleIssuer, MetadataIssuer, TokenUnreachableError
from downloader.earthengine.auth.token_http import TokenRequest
from downloader.errors import AuthenticationError


@pytest.fixture(scope="session")
def pem():
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def key(pem):
    return {
        "type": "service_account",
        "project_id": "p-test-1",
        "private_key_id": "k1",
        "private_key": pem,
        "client_email": "sa@p-test-1.iam.gserviceaccount.com",
        "token_uri": "https://token.example/token",
    }


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A machine without any credentials."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GCE_METADATA_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path, content, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return path


class Endpoint:
    """A token endpoint on a socket that answers the same to everybody."""

    def __init__(self, status=200, body=b"", headers=()):
        self.seen = []
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                endpoint.seen.append(
                    (self.path, self.headers, self.rfile.read(int(self.headers["content-length"] or 0)))
                )
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.do_POST()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


# Files -----------------------------------------------------------------------------------------------------


def test_a_key_file_names_its_account_and_project(home, key):
    found = AuthSettings("key_file", write(home / "sa.json", key)).find()
    assert found.description == "service account sa@p-test-1.iam.gserviceaccount.com (key file sa.json)"
    assert found.project == "p-test-1"
    assert found.warnings == ()


def test_a_key_file_that_all_can_read_is_warned_about(home, key):
    (warning,) = AuthSettings("key_file", write(home / "sa.json", key, 0o644)).find().warnings
    assert "sa.json" in warning
    assert "chmod 600" in warning


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"type": "authorized_user"}, "type is 'authorized_user'"),
        ({"type": None}, "type is 'None'"),
        ({"private_key": None}, "has no private_key"),
        ({"private_key": ""}, "has no private_key"),
        ({"client_email": None}, "has no client_email"),
        ({"private_key": "hunter2hunter2"}, r"google-auth cannot use .*private_key"),
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----\n"}, r"google-auth cannot use .*private_key"),
    ],
)  # fmt: skip
def test_a_broken_key_file_is_named_and_its_contents_are_not(home, key, change, match):
    path = write(
        home / "sa.json", {name: value for name, value in {**key, **change}.items() if value is not None}
    )
    with pytest.raises(AuthenticationError, match=match) as caught:
        AuthSettings("key_file", path).find()
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("content", "match"),
    [("", "no JSON"), ("hunter2", "no JSON"), ("[1]", "no JSON"), ("{" * 100_000, "no JSON"), (" " * 2**21, "no JSON")],
)  # fmt: skip
def test_a_file_that_is_no_json_is_named(home, content, match):
    with pytest.raises(AuthenticationError, match=match) as caught:
        AuthSettings("key_file", write(home / "sa.json", content)).find()
    assert "sa.json" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_or_unreadable_file_says_so(home):
    with pytest.raises(AuthenticationError, match=r"nowhere\.json does not exist"):
        AuthSettings("key_file", home / "nowhere.json").find()
    with pytest.raises(AuthenticationError, match="cannot be read"):
        AuthSettings("key_file", home).find()


# The chain -------------------------------------------------------------------------------------------------


def saved(home, **members):
    return write(
        home / ".config/earthengine/credentials", {"refresh_token": "1//r", "project": "p-saved-1", **members}
    )


def signed_in(home, **members):
    info = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "1//r",
        **members,
    }
    return write(home / ".config/gcloud/application_default_credentials.json", info)


def test_with_nothing_the_ways_in_are_listed():
    with pytest.raises(AuthenticationError, match=r"auth\.key_file.*gcloud.*earthengine authenticate"):
        AuthSettings().find()
    with pytest.raises(AuthenticationError, match=r"auth\.application_default"):
        AuthSettings("application_default").find()
    with pytest.raises(AuthenticationError, match=r"auth\.earthengine"):
        AuthSettings("earthengine").find()


def test_the_chain_takes_the_first_there_is(home, key, monkeypatch):
    saved(home)
    found = AuthSettings().find()
    assert (found.description, found.project) == (
        "authorized user (saved token of the earthengine client)",
        "p-saved-1",
    )
    signed_in(home, quota_project_id="p-quota-1")
    found = AuthSettings().find()
    assert (found.description, found.project) == (
        "authorized user (application-default sign-in)",
        "p-quota-1",
    )
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write(home / "sa.json", key)))
    found = AuthSettings().find()
    assert "sa@p-test-1" in found.description
    assert "GOOGLE_APPLICATION_CREDENTIALS, sa.json" in found.description


def test_a_named_file_that_is_missing_ends_the_chain(home, monkeypatch):
    saved(home)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(home / "gone.json"))
    with pytest.raises(AuthenticationError, match=r"gone\.json does not exist"):
        AuthSettings().find()


def test_a_broken_sign_in_is_named(home):
    signed_in(home, refresh_token=None)
    with pytest.raises(
        AuthenticationError, match=r"application_default_credentials\.json has no refresh_token"
    ):
        AuthSettings().find()


def test_a_saved_file_without_a_token_is_passed_over(home):
    saved(home, refresh_token=None)
    with pytest.raises(AuthenticationError, match="no credentials found"):
        AuthSettings().find()


def test_the_saved_token_is_renewed_in_the_official_clients_name(home):
    saved(home)
    google = AuthSettings("earthengine").find().issuer.credentials
    assert google.token_uri == "https://oauth2.googleapis.com/token"
    assert google.client_id.startswith("517222506229-")
    saved(home, client_id="mine", client_secret="mine-too", token_uri="https://evil.example/token")
    google = AuthSettings("earthengine").find().issuer.credentials
    assert (google.client_id, google.client_secret) == ("mine", "mine-too")
    assert google.token_uri == "https://oauth2.googleapis.com/token"


def test_other_kinds_of_files_go_to_google_auth(home, monkeypatch):
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(home / "subject")},
    }
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write(home / "wif.json", info)))
    assert AuthSettings().find().description == "external account (GOOGLE_APPLICATION_CREDENTIALS)"


def test_what_google_auth_does_not_know_is_named(home, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write(home / "odd.json", {"type": "odd"})))
    with pytest.raises(AuthenticationError, match=r"google-auth cannot use .*odd\.json"):
        AuthSettings().find()


# The machine's own account ----------------------------------------------------------------------------------


def test_a_machine_of_googles_has_an_account(monkeypatch):
    monkeypatch.delenv("NO_GCE_CHECK")
    with Endpoint(body=b"p-vm-1", headers=[("Metadata-Flavor", "Google")]) as metadata:
        monkeypatch.setenv("GCE_METADATA_HOST", metadata.url.removeprefix("http://"))
        found = AuthSettings("application_default").find()
    assert (found.description, found.project) == ("service account of this machine", "p-vm-1")
    assert metadata.seen[0][1]["metadata-flavor"] == "Google"


def test_somebody_else_at_the_metadata_address_is_nobody(monkeypatch):
    monkeypatch.delenv("NO_GCE_CHECK")
    with Endpoint(body=b"hello") as router:
        monkeypatch.setenv("GCE_METADATA_HOST", router.url.removeprefix("http://"))
        with pytest.raises(AuthenticationError, match="none found"):
            AuthSettings("application_default").find()


def test_silence_at_the_metadata_address_is_bounded(monkeypatch, home):
    """A socket that accepts and never answers, as firewalls make of the address."""
    import socket

    saved(home)
    monkeypatch.delenv("NO_GCE_CHECK")
    monkeypatch.setattr(find, "METADATA_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        assert "earthengine" in AuthSettings().find().description


@pytest.mark.parametrize(
    ("status", "body", "error", "match"),
    [
        (404, b"no account", AuthenticationError, "cloud-platform"),
        (500, b"", TokenUnreachableError, "500"),
        (200, b"<html>", TokenUnreachableError, "no sense"),
        (200, b"[]", TokenUnreachableError, "no sense"),
        (200, b"[" * 200_000, TokenUnreachableError, "no sense"),
        (
            200,
            b'{"access_token": "a", "expires_in": 1' + b"0" * 400 + b"}",
            TokenUnreachableError,
            "no sense",
        ),
    ],
)
def test_a_metadata_server_without_a_token(status, body, error, match):
    with Endpoint(status, body) as metadata, pytest.raises(error, match=match):
        MetadataIssuer(metadata.url).issue(None)


def test_the_metadata_servers_token():
    with Endpoint(body=b'{"access_token": "ya29.m", "expires_in": 1799, "token_type": "Bearer"}') as metadata:
        token = MetadataIssuer(metadata.url).issue(None)
    assert (token.text, token.lifetime_s) == ("ya29.m", 1799)


# Tokens of a key file ---------------------------------------------------------------------------------------


def issue(home, key, url, refused=None):
    return (
        AuthSettings("key_file", write(home / "sa.json", {**key, "token_uri": f"{url}/token"}))
        .find()
        .issuer.issue(refused)
    )


def test_a_key_brings_a_token_for_the_cloud_platform_scope(home, key):
    with Endpoint(body=b'{"access_token": "ya29.k", "expires_in": 3599}') as endpoint:
        token = issue(home, key, endpoint.url)
    assert token.text == "ya29.k"
    assert 3590 < token.lifetime_s <= 3599
    assertion = parse_qs(endpoint.seen[0][2].decode())["assertion"][0]
    claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["iss"] == key["client_email"]


@pytest.mark.parametrize(
    ("description", "hint"),
    [
        ("Invalid JWT Signature.", "make a new key file"),
        ("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.", "clock right"),
        ("Invalid grant: account not found", "does not exist any more"),
        ("Token has been expired or revoked.", "sign in again"),
    ],
)  # fmt: skip
def test_a_refused_grant_is_explained(home, key, description, hint):
    body = json.dumps({"error": "invalid_grant", "error_description": description}).encode()
    with Endpoint(400, body) as endpoint, pytest.raises(AuthenticationError, match=hint) as caught:
        issue(home, key, endpoint.url)
    assert not isinstance(caught.value, TokenUnreachableError)
    assert description[:20] in str(caught.value)
    assert "sa.json" in str(caught.value)
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize(("minutes", "direction"), [(-15, "ahead of"), (15, "behind")])
def test_a_wrong_clock_is_measured(home, key, minutes, direction):
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    body = b'{"error": "invalid_grant", "error_description": "Invalid JWT: iat"}'
    with Endpoint(400, body, [("Date", date)]) as endpoint, pytest.raises(AuthenticationError) as caught:
        issue(home, key, endpoint.url)
    assert f"s {direction} the token server's" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"{}"), (503, b"<html>"), (429, b""), (200, b"<html>login</html>"), (200, b"{}"), (200, b"[1]"), (400, b"<html>"), (200, b'{"access_token": 5}')],
)  # fmt: skip
def test_an_endpoint_that_is_down_or_talks_nonsense(home, key, status, body):
    with Endpoint(status, body) as endpoint, pytest.raises(AuthenticationError) as caught:
        issue(home, key, endpoint.url)
    assert isinstance(caught.value, TokenUnreachableError)
    assert len(endpoint.seen) == 1, "google-auth must not retry in its thread"


def test_an_endpoint_that_refuses_connections(home, key):
    with Endpoint() as endpoint:
        url = endpoint.url
    with pytest.raises(TokenUnreachableError, match=r"127\.0\.0\.1"):
        issue(home, key, url)


def test_a_drip_and_an_endless_answer_are_cut():
    from google.auth.exceptions import TransportError

    with Endpoint(body=b"x" * 3 * 2**20) as endpoint, pytest.raises(TransportError, match="endless"):
        TokenRequest()(endpoint.url)
    with Endpoint(body=b"x" * 2**19) as endpoint, pytest.raises(TransportError):
        TokenRequest(call_s=0.0)(endpoint.url)


# Objects of a caller ----------------------------------------------------------------------------------------


def test_any_google_auth_object_will_do():
    from google.oauth2.credentials import Credentials

    found = AuthSettings("credentials", Credentials("ya29.static", quota_project_id="p-mine-1")).find()
    assert found.project == "p-mine-1"
    assert found.issuer.issue(None).text == "ya29.static"
    with pytest.raises(AuthenticationError, match="give a fresh one"):
        found.issuer.issue("ya29.static")


def test_what_is_no_credentials_object_is_refused():
    with pytest.raises(AuthenticationError, match="str is no google-auth credentials"):
        AuthSettings("credentials", "ya29.token").find()


def test_an_object_of_unknown_make_may_fail_as_it_likes():
    class Odd:
        valid, token, expiry = False, None, None

        def refresh(self, request):
            raise KeyError("access_token")

    with pytest.raises(TokenUnreachableError, match="no sense"):
        GoogleIssuer(Odd(), "odd").issue(None)
    Odd.refresh = lambda self, request: None
    with pytest.raises(AuthenticationError, match="bring no token"):
        GoogleIssuer(Odd(), "odd").issue(None)


@pytest.mark.parametrize("error", [OverflowError("too large"), RecursionError()])
def test_an_answer_that_google_auth_cannot_read_may_pass(error):
    class Odd:
        valid, token, expiry = False, None, None

        def refresh(self, request):
            raise error

    with pytest.raises(TokenUnreachableError, match="no sense"):
        GoogleIssuer(Odd(), "odd").issue(None)


@pytest.mark.parametrize("lifetime", ["1e400", "1e308", '"x"', "-1e400"])
def test_a_lifetime_that_cannot_be_is_an_error_or_no_harm(home, lifetime):
    saved(home)
    body = b'{"access_token": "ya29.x", "expires_in": ' + lifetime.encode() + b"}"
    with Endpoint(body=body) as server:
        credentials = AuthSettings("earthengine").find().issuer
        credentials.credentials._token_uri = server.url
        with contextlib.suppress(TokenUnreachableError):
            credentials.issue(None)


def test_a_persons_credentials_need_a_project(home, monkeypatch):
    saved(home)
    assert AuthSettings("earthengine").find().is_user
    signed_in(home, type="authorized_user", refresh_token="1//r")
    assert AuthSettings().find().is_user
