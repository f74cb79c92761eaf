import asyncio
import base64
import os
from pathlib import Path

import msgspec
import pytest

from tidings.client.logins import Login, delete_login, find_login_file, login_path, store_login
from tidings.client.options import LinkOptions
from tidings.client.tokens import Token, TokenSource, describe_owner, find_token_source
from tidings.exceptions import ConfigError, TokenUnavailable

URL = "wss://hub.example.com/ws"
SECRET = "hunter2hunter2"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def found(token: Token | None, environment: dict[str, str], url: str = URL) -> TokenSource:
    source = find_token_source(token, url, environment=environment)
    assert source is not None
    return source


def jwt(**claims: object) -> str:
    body = base64.urlsafe_b64encode(msgspec.json.encode(claims)).decode().rstrip("=")
    return f"e30.{body}.c2ln"


class TestPrecedence:
    def test_first_place_that_has_a_token_wins(self, home: dict[str, str], tmp_path: Path) -> None:
        store_login(Login(url=URL, token="stored"), tmp_path / "tidings" / "logins")
        assert found(None, home).read() == "stored"
        (tmp_path / "token").write_text("of-the-file\n")
        home["TIDINGS_TOKEN_FILE"] = str(tmp_path / "token")
        assert found(None, home).read() == "of-the-file"
        home["TIDINGS_TOKEN"] = "of-the-variable"
        assert found(None, home).read() == "of-the-variable"
        assert found("of-the-argument", home).read() == "of-the-argument"

    def test_empty_argument_means_no_token(self, home: dict[str, str]) -> None:
        assert find_token_source("", URL, environment={**home, "TIDINGS_TOKEN": SECRET}) is None

    def test_empty_variables_count_as_absent(self, home: dict[str, str]) -> None:
        assert (
            find_token_source(None, URL, environment={**home, "TIDINGS_TOKEN": " ", "TIDINGS_TOKEN_FILE": ""}) is None
        )

    def test_login_is_that_of_the_hub(self, home: dict[str, str], tmp_path: Path) -> None:
        store_login(Login(url=URL, token="stored"), tmp_path / "tidings" / "logins")
        for same in ("wss://HUB.example.com:443/ws", "wss://ann:secret@hub.example.com/ws?pace_ms=5"):
            assert found(None, home, same).read() == "stored"
        for other in ("wss://hub.example.com/team/ws", "wss://hub.example.com:8443/ws", "wss://example.com/ws"):
            assert find_token_source(None, other, environment=home) is None


class TestSources:
    def test_file_is_read_each_time(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("first\n")
        source = found(None, {"TIDINGS_TOKEN_FILE": str(tmp_path / "token")})
        assert source.renewable
        assert source.read() == "first"
        (tmp_path / "token").write_text("second")
        assert asyncio.run(source.fetch()) == "second"

    async def test_pipe_without_a_writer_does_not_stop_the_loop(self, tmp_path: Path) -> None:
        pipe = tmp_path / "token"
        os.mkfifo(pipe)
        fetching = asyncio.create_task(found(None, {"TIDINGS_TOKEN_FILE": str(pipe)}).fetch())
        await asyncio.sleep(0)
        await asyncio.to_thread(pipe.write_text, "late\n")
        assert await fetching == "late"

    @pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe", b"x" * 20_000])
    def test_unusable_file_is_unavailable_without_its_content(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "token").write_bytes(content)
        source = found(None, {"TIDINGS_TOKEN_FILE": str(tmp_path / "token")})
        with pytest.raises(TokenUnavailable) as caught:
            source.read()
        assert "two words" not in str(caught.value)

    def test_function_is_called_each_time(self) -> None:
        tokens = iter(["first", "second", None])

        async def fetch() -> list[str | None]:
            source = found(lambda: next(tokens), {})
            return [await source.fetch() for _ in range(3)]

        assert asyncio.run(fetch()) == ["first", "second", None]

    def test_asynchronous_function_works_in_both_clients(self) -> None:
        async def token() -> str:
            await asyncio.sleep(0)
            return SECRET

        source = found(token, {})
        assert source.read() == SECRET
        assert asyncio.run(source.fetch()) == SECRET

    def test_function_that_blocks_does_not_stop_the_loop(self) -> None:
        async def fetch() -> str | None:
            released = asyncio.Event()
            loop = asyncio.get_running_loop()

            def blocking() -> str:
                asyncio.run_coroutine_threadsafe(_set(released), loop).result(60)
                return SECRET

            return await found(blocking, {}).fetch()

        assert asyncio.run(fetch()) == SECRET

    @pytest.mark.parametrize("wrong", [3, b"bytes", "two words", "", "naïve"])
    def test_invalid_result_of_a_function_is_unavailable(self, wrong: object) -> None:
        with pytest.raises(TokenUnavailable, match="token function returned"):
            found(lambda: wrong, {}).read()  # type: ignore[arg-type]

    def test_error_of_a_function_is_shown_without_its_text(self) -> None:
        def failing() -> str:
            raise ValueError(f"the server refuses {SECRET}")

        source = found(failing, {})
        for call in (source.read, lambda: asyncio.run(source.fetch())):
            with pytest.raises(TokenUnavailable, match="raised ValueError") as caught:
                call()
            assert SECRET not in str(caught.value)


async def _set(event: asyncio.Event) -> None:
    event.set()


class TestSecrecy:
    @pytest.mark.parametrize("token", [SECRET, lambda: SECRET])
    def test_repr_of_options_and_sources_holds_no_token(self, token: Token) -> None:
        assert SECRET not in repr(LinkOptions(token=token))
        assert SECRET not in repr(LinkOptions(token=found(token, {})))
        assert SECRET not in repr(found(token, {}))
        assert SECRET not in repr(LinkOptions(token=token).__rich_repr__())
        assert SECRET not in repr(Login(url=URL, token=SECRET))

    def test_invalid_token_is_not_shown(self) -> None:
        with pytest.raises(ConfigError) as caught:
            found("hunter2 hunter2", {})
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("url", ["ws://hub.example.com/ws", "ws://192.0.2.7:8765/ws", "ws://hub:8765/ws"])
    def test_token_does_not_go_over_an_unencrypted_network(self, url: str, tmp_path: Path) -> None:
        environment = {"XDG_CONFIG_HOME": str(tmp_path)}
        store_login(Login(url=url, token=SECRET), tmp_path / "tidings" / "logins")
        for token, more in ((SECRET, {}), (lambda: SECRET, {}), (None, {"TIDINGS_TOKEN": SECRET}), (None, {})):
            with pytest.raises(ConfigError, match="unencrypted") as caught:
                find_token_source(token, url, environment=environment | more)
            assert "TIDINGS_ALLOW_PLAINTEXT_TOKEN" in caught.value.hint

    @pytest.mark.parametrize("url", ["ws://127.0.0.1:8765/ws", "ws://localhost/ws", "ws://[::1]:1/ws", URL])
    def test_token_goes_to_this_machine_and_over_tls(self, url: str) -> None:
        assert found(SECRET, {}, url).read() == SECRET

    def test_plaintext_is_allowed_by_an_argument_or_a_variable(self) -> None:
        url = "ws://hub.example.com/ws"
        assert find_token_source(SECRET, url, allow_plaintext=True, environment={}) is not None
        assert find_token_source(SECRET, url, environment={"TIDINGS_ALLOW_PLAINTEXT_TOKEN": "1"}) is not None
        with pytest.raises(ConfigError):
            find_token_source(SECRET, url, environment={"TIDINGS_ALLOW_PLAINTEXT_TOKEN": "0"})

    def test_hub_without_a_token_is_reached_over_an_unencrypted_network(self, home: dict[str, str]) -> None:
        assert find_token_source(None, "ws://hub.example.com/ws", environment=home) is None


class TestOwners:
    def test_owner_of_a_token_holds_nothing_of_its_secret(self) -> None:
        assert describe_owner("tdk_7hK2_0123456789abcdef") == "key 7hK2"
        assert describe_owner(jwt(sub="ann", iss="https://id.example.com")) == "sub ann of https://id.example.com"
        assert describe_owner(jwt(sub="ann")) == "sub ann of no issuer"
        assert describe_owner(None) == ""

    @pytest.mark.parametrize("token", [SECRET, "a.b.c", "a..c", "....", jwt(), jwt(sub=3), "e30.e30"])
    def test_token_that_states_nothing_is_opaque(self, token: str) -> None:
        assert describe_owner(token) == "opaque"


class TestLogins:
    def test_file_and_folder_are_readable_by_their_user_only(self, tmp_path: Path) -> None:
        folder = tmp_path / "tidings" / "logins"
        path = store_login(Login(url=URL, token=SECRET), folder)
        assert path.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.iterdir()) == [path]

    def test_second_login_replaces_the_first(self, home: dict[str, str], tmp_path: Path) -> None:
        folder = tmp_path / "tidings" / "logins"
        store_login(Login(url=URL, token="first"), folder)
        source = found(None, home)
        store_login(Login(url=URL, token="second"), folder)
        assert source.read() == "second"

    def test_logout_ends_the_source(self, home: dict[str, str], tmp_path: Path) -> None:
        folder = tmp_path / "tidings" / "logins"
        store_login(Login(url=URL, token=SECRET), folder)
        source = found(None, home)
        assert delete_login(URL, folder)
        assert source.read() is None
        assert not delete_login(URL, folder)
        assert find_login_file(URL, home) is None

    def test_login_that_others_can_read_is_refused(self, home: dict[str, str], tmp_path: Path) -> None:
        path = store_login(Login(url=URL, token=SECRET), tmp_path / "tidings" / "logins")
        path.chmod(0o644)
        with pytest.raises(TokenUnavailable, match="other users") as caught:
            found(None, home).read()
        assert "chmod 600" in caught.value.hint

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"url": "x"}', b"[]"])
    def test_damaged_login_is_refused(self, home: dict[str, str], tmp_path: Path, content: bytes) -> None:
        folder = tmp_path / "tidings" / "logins"
        store_login(Login(url=URL, token=SECRET), folder)
        login_path(URL, folder).write_bytes(content)
        with pytest.raises(TokenUnavailable, match="damaged"):
            found(None, home).read()

    def test_named_pipe_in_place_of_a_login_keeps_no_one_waiting(self, home: dict[str, str], tmp_path: Path) -> None:
        path = store_login(Login(url=URL, token=SECRET), tmp_path / "tidings" / "logins")
        path.unlink()
        os.mkfifo(path, 0o600)
        with pytest.raises(TokenUnavailable, match="damaged"):
            found(None, home).read()

    def test_user_without_a_home_has_no_logins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        assert find_login_file(URL, {}) is None
