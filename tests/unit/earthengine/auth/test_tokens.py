"""Tokens: one renewal however many ask, early, bounded, and never shown."""

import asyncio
import itertools
import pickle
import threading

import pytest

from downloader.earthengine.auth.find import AuthSettings, FoundCredentials
from downloader.earthengine.auth.issuers import Token, TokenUnreachableError
from downloader.earthengine.auth.tokens import TokenSource, resolve_project
from downloader.errors import Action, AuthenticationError, Cause, FetchProblem, JobError, TileError

REFUSED = FetchProblem(Action.FAIL_JOB, Cause.UNAUTHENTICATED, "401: no", 401, ends_with=AuthenticationError)


class Clock:
    """Time that passes only when somebody sleeps, or a test says so."""

    def __init__(self):
        self.time = 1000.0
        self.slept = []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


class Scripted:
    """An issuer that does what it is told, one entry a call; the last one again and again."""

    def __init__(self, *script):
        self.script = list(script)
        self.calls = []
        self.gate = None

    def issue(self, refused):
        self.calls.append(refused)
        if self.gate is not None:
            assert self.gate.wait(10)
        step = self.script[min(len(self.calls), len(self.script)) - 1]
        if isinstance(step, Exception):
            raise step
        return step


async def renewed(tokens, old):
    """The token after the service refused `old`."""
    assert tokens.refused(old, REFUSED).cause is Cause.TOKEN_RENEWED
    return await tokens.token()


def source(*script, project=None):
    issuer = Scripted(*script)
    return TokenSource(FoundCredentials(issuer, "scripted", project), clock=Clock()), issuer


async def test_a_token_is_fetched_once_and_kept():
    tokens, issuer = source(Token("a", 3600))
    assert [await tokens.token() for _ in range(5)] == ["a"] * 5
    assert issuer.calls == [None]


async def test_one_renewal_serves_all_who_come_meanwhile():
    tokens, issuer = source(Token("a", 3600), Token("b", 3600))
    old = await tokens.token()
    issuer.gate = threading.Event()
    waiting = [asyncio.create_task(renewed(tokens, old)) for _ in range(40)]
    await asyncio.sleep(0)
    issuer.gate.set()
    assert await asyncio.gather(*waiting) == ["b"] * 40
    assert issuer.calls == [None, "a"]


async def test_who_comes_with_a_replaced_token_gets_the_new_one_at_once():
    tokens, issuer = source(Token("a", 3600), Token("b", 3600))
    await renewed(tokens, await tokens.token())
    assert await renewed(tokens, "a") == "b"
    assert len(issuer.calls) == 2


async def test_a_cancelled_worker_does_not_take_the_renewal_with_it():
    tokens, issuer = source(Token("a", 3600))
    issuer.gate = threading.Event()
    first, second = asyncio.create_task(tokens.token()), asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    issuer.gate.set()
    assert await second == "a"
    assert len(issuer.calls) == 1


async def test_a_token_is_renewed_a_minute_before_it_ends():
    tokens, issuer = source(Token("a", 3600), Token("b", 3600))
    await tokens.token()
    tokens._clock.time += 3600 - 61
    tokens._soon = float("inf")  # leave the renewal beside its use out of this
    assert await tokens.token() == "a"
    tokens._clock.time += 1
    assert await tokens.token() == "b"
    assert issuer.calls == [None, "a"]


async def test_before_that_it_is_renewed_beside_its_use():
    tokens, issuer = source(Token("a", 3600), Token("b", 3600))
    await tokens.token()
    tokens._clock.time += 3600 - 170
    issuer.gate = threading.Event()
    assert await tokens.token() == "a"  # nobody waits
    issuer.gate.set()
    await asyncio.wait_for(tokens._flight, 5)
    assert await tokens.token() == "b"


async def test_a_renewal_beside_its_use_may_fail_in_silence():
    tokens, issuer = source(Token("a", 3600), AuthenticationError("no"))
    await tokens.token()
    tokens._clock.time += 3600 - 170
    assert await tokens.token() == "a"
    await asyncio.wait([tokens._flight])
    assert await tokens.token() == "a"
    tokens._clock.time += 120
    with pytest.raises(TileError, match="no") as caught:
        await tokens.token()
    assert caught.value.problem.ends_with is AuthenticationError
    assert len(issuer.calls) >= 3


async def test_short_lived_tokens_are_not_renewed_at_every_use():
    tokens, issuer = source(*(Token(str(k), 8) for k in range(9)))
    for _ in range(80):
        await tokens.token()
        tokens._clock.time += 0.1
        await asyncio.sleep(0)
    assert len(issuer.calls) <= 3


async def test_what_may_pass_is_tried_again_with_growing_waits():
    tokens, issuer = source(TokenUnreachableError("down"), TokenUnreachableError("down"), Token("a", 60))
    assert await tokens.token() == "a"
    assert len(issuer.calls) == 3
    assert len([wait for wait in tokens._clock.slept if wait]) >= 2
    assert tokens._clock.time >= 1002, "at most one call a second"


async def test_and_given_up_within_a_minute():
    tokens, issuer = source(TokenUnreachableError("endpoint down"))
    with pytest.raises(TileError, match=r"endpoint down.*gave up after") as caught:
        await tokens.token()
    assert (caught.value.problem.action, caught.value.problem.cause) == (Action.RETRY, Cause.NO_TOKEN)
    assert 2 <= len(issuer.calls) <= 6
    assert tokens._clock.time <= 1000 + 60


async def test_a_machine_that_slept_through_an_attempt_tries_again():
    tokens, issuer = source(TokenUnreachableError("down"), Token("a", 60))
    issue = issuer.issue

    def asleep(refused):
        tokens._clock.time += 3600
        return issue(refused)

    issuer.issue = asleep
    assert await tokens.token() == "a"


async def test_a_refusal_is_not_tried_again():
    tokens, issuer = source(AuthenticationError("deleted"))
    with pytest.raises(TileError, match="deleted") as caught:
        await tokens.token()
    assert caught.value.problem.action is Action.FAIL_JOB
    assert len(issuer.calls) == 1


async def test_a_hanging_thread_is_left_behind(monkeypatch):
    monkeypatch.setattr("downloader.earthengine.auth.tokens._ISSUE_S", 0.02)
    tokens, issuer = source(Token("a", 60))
    issuer.gate = threading.Event()
    with pytest.raises(TileError, match="no token within"):
        await tokens.token()
    issuer.gate.set()


async def test_closing_gives_up_a_renewal():
    tokens, issuer = source(Token("a", 60))
    issuer.gate = threading.Event()
    waiting = asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    await tokens.aclose()
    issuer.gate.set()
    with pytest.raises(TileError, match="given up"):
        await waiting


async def test_none_sends_nothing():
    tokens = await TokenSource.open(AuthSettings("none"), clock=Clock())
    assert await tokens.token() is None
    assert tokens.renewal() is None


async def test_a_variable_is_read_again_and_its_refused_token_explained(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", " ya29.first \n")
    tokens = await TokenSource.open(AuthSettings("access_token_env", "MY_TOKEN"), clock=Clock())
    assert await tokens.token() == "ya29.first"
    for _ in range(2):
        assert await renewed(tokens, "ya29.first") == "ya29.first", "it may be good all the same"
        tokens._clock.time += 2
    ended = tokens.refused("ya29.first", REFUSED)
    assert ended.action is Action.FAIL_JOB
    assert "MY_TOKEN expired" in ended.message
    assert "first" not in ended.message
    tokens._clock.time += 2
    monkeypatch.setenv("MY_TOKEN", "ya29.second")
    tokens._must = float("-inf")
    assert await tokens.token() == "ya29.second"
    monkeypatch.delenv("MY_TOKEN")
    tokens._must = float("-inf")
    with pytest.raises(TileError, match="MY_TOKEN is not set"):
        await tokens.token()


async def test_a_token_that_is_never_accepted_ends_the_job_after_three_tries_apart():
    tokens, _ = source(*(Token(str(k), 3600) for k in range(9)))
    clock, tried = tokens._clock, []
    while True:
        token = await tokens.token()
        tried.append(clock.time)
        problem = tokens.refused(token, REFUSED)
        if problem.action is Action.FAIL_JOB:
            break
        clock.time += problem.retry_after_s + 0.01
    assert len(tried) == 4, "the token that expired, and three tries with renewed ones"
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(tried[1:]))
    assert "sign in again" in problem.message


async def test_while_others_are_answered_a_401_is_the_fault_of_its_answer():
    """Every second answer is a 401: the job goes on, and hardly any token is asked for."""
    tokens, issuer = source(*(Token(str(k), 3600) for k in range(99)))
    causes = []
    for _ in range(100):
        tokens.accepted(await tokens.token())
        problem = tokens.refused(await tokens.token(), REFUSED)
        causes.append(problem.cause)
        assert problem.action is Action.RETRY
        tokens._clock.time += 0.1
    assert causes.count(Cause.UNAUTHENTICATED) > 95
    assert len(issuer.calls) <= 3


async def test_forty_refusals_of_one_token_are_one_renewal():
    tokens, _ = source(Token("a", 3600), Token("b", 3600))
    tokens.accepted(await tokens.token())
    problems = [tokens.refused("a", REFUSED) for _ in range(40)]
    assert {problem.cause for problem in problems} == {Cause.TOKEN_RENEWED}
    assert await tokens.token() == "b"
    assert tokens.calls == 2


async def test_a_command_prints_the_token(tmp_path):
    script = tmp_path / "token.sh"
    script.write_text("#!/bin/sh\ncat $(dirname $0)/token\n")
    script.chmod(0o700)
    (tmp_path / "token").write_text("one\n")
    tokens = await TokenSource.open(AuthSettings("access_token_command", (str(script), "--x")), clock=Clock())
    assert await tokens.token() == "one"
    (tmp_path / "token").write_text("two\n")
    assert await renewed(tokens, "one") == "two"
    tokens._clock.time += 2
    assert await renewed(tokens, "two") == "two"
    tokens._clock.time += 2
    assert "token.sh prints a token that is not accepted" in tokens.refused("two", REFUSED).message


@pytest.mark.parametrize(
    ("command", "match"),
    [
        (["/no/such/program"], "cannot be run"),
        (["sh", "-c", "echo Bearer s3cr3ts3cr3t >&2; exit 3"], r"ended with 3: Bearer \[hidden\]"),
        (["echo"], "empty"),
        (["echo", "a b"], "white space"),
    ],
)
async def test_a_command_that_brings_no_token(command, match):
    with pytest.raises((TileError, AuthenticationError), match=match):
        await (await TokenSource.open(AuthSettings("access_token_command", command), clock=Clock())).token()


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "a\r\nX-Evil: 1", "\u00e9", "a\0"])
def test_what_could_break_a_header_is_no_token(text):
    with pytest.raises(AuthenticationError):
        Token(text)


def test_no_repr_shows_a_token_or_what_was_given():
    token, settings = Token("ya29.secret", 60), AuthSettings("access_token_command", ["print", "ya29.secret"])
    tokens, _ = source(token)
    assert "secret" not in f"{token!r}{settings!r}{tokens!r}{tokens!s}"


def test_settings_travel_to_other_processes():
    settings = AuthSettings("key_file", "/k.json")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_an_unknown_kind_is_refused():
    with pytest.raises(JobError, match="typo"):
        AuthSettings("typo").find()


def test_the_project_comes_from_the_job_then_the_environment_then_the_credentials(monkeypatch):
    for name in ("EE_PROJECT_ID", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    tokens, _ = source(Token("a"), project="from-key-1")
    assert resolve_project(None) is None
    assert resolve_project(None, tokens.found) == "from-key-1"
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "from-env-1")
    assert resolve_project(None, tokens.found) == "from-env-1"
    monkeypatch.setenv("EE_PROJECT_ID", "from-ee-1")
    assert resolve_project(None, tokens.found) == "from-ee-1"
    assert resolve_project("from-job-1", tokens.found) == "from-job-1"
    assert resolve_project("example.com:from-job-1") == "example.com:from-job-1"
    assert resolve_project("123456789") == "123456789"


@pytest.mark.parametrize("project", ["My Project", "short", "a\nb: c", "x" * 31, "projects/my-project"])
def test_what_is_no_project_is_refused(project):
    with pytest.raises(JobError, match=r"service\.project"):
        resolve_project(project)
