"""Tests of redaction: what looks like a secret goes, and what only resembles one stays."""

import re
import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.redaction import (
    MAX_LINE_CHARS,
    REDACTED,
    Redactor,
    compile_pattern,
    redact_command,
    redact_json,
    redact_text,
)

SECRET = "hunter2"
COMMANDS = {
    "mysql -u root -phunter2 shop": "mysql -u root -pREDACTED shop",
    "mysql -phunter2": "mysql -pREDACTED",
    "sudo -E /usr/bin/mysqldump -phunter2 db": "sudo -E /usr/bin/mysqldump -pREDACTED db",
    "mariadb-dump --password=hunter2 db": "mariadb-dump --password=REDACTED db",
    "docker exec -it db mysql -phunter2": "docker exec -it db mysql -pREDACTED",
    "sshpass -p hunter2 ssh ann@host": "sshpass -p REDACTED ssh ann@host",
    "sshpass -phunter2 ssh ann@host": "sshpass -pREDACTED ssh ann@host",
    "backup --password hunter2 --to /srv": "backup --password REDACTED --to /srv",
    "backup --smtp-password hunter2": "backup --smtp-password REDACTED",
    "deploy --token hunter2 --now": "deploy --token REDACTED --now",
    "deploy --api-key=hunter2": "deploy --api-key=REDACTED",
    "java -Dhttp.proxyPassword=hunter2 -jar a.jar": "java -Dhttp.proxyPassword=REDACTED -jar a.jar",
    "env AWS_SECRET_ACCESS_KEY=hunter2 aws s3 ls": "env AWS_SECRET_ACCESS_KEY=REDACTED aws s3 ls",
    "env PGPASSWORD=hunter2 psql": "env PGPASSWORD=REDACTED psql",
    "env MYSQL_PWD=hunter2 mysql": "env MYSQL_PWD=REDACTED mysql",
    "docker run -e DB_PASS=hunter2 -p 8080:80 app": "docker run -e DB_PASS=REDACTED -p 8080:80 app",
    "docker run --env=DB_PASSWORD=hunter2 app": "docker run --env=DB_PASSWORD=REDACTED app",
    "docker login -u ann -p hunter2 example.com": "docker login -u ann -p REDACTED example.com",
    "curl -u ann:hunter2 https://example.com": "curl -u ann:REDACTED https://example.com",
    "curl -su ann:hunter2 https://example.com": "curl -su ann:REDACTED https://example.com",
    "curl -uann:hunter2 https://example.com": "curl -uann:REDACTED https://example.com",
    "curl --user=ann:hunter2 https://example.com": "curl --user=ann:REDACTED https://example.com",
    "curl -H 'Authorization: Bearer hunter2' https://example.com": (
        "curl -H 'Authorization: Bearer REDACTED' https://example.com"
    ),
    "curl 'https://example.com/?a=1&sig=hunter2'": "curl 'https://example.com/?a=1&sig=REDACTED'",
    "psql postgresql://ann:hunter2@db/shop": "psql postgresql://ann:REDACTED@db/shop",
    "psql postgresql://ann:hun/te@r2@db/shop": "psql postgresql://ann:REDACTED@db/shop",
    "git clone https://ann:hunter2@example.com/a.git": "git clone https://ann:REDACTED@example.com/a.git",
    "redis-cli -a hunter2 ping": "redis-cli -a REDACTED ping",
    "openssl enc -aes256 -pass pass:hunter2": "openssl enc -aes256 -pass REDACTED",
    "openssl rsa -passin=pass:hunter2": "openssl rsa -passin=REDACTED",
    "keytool -storepass hunter2 -list": "keytool -storepass REDACTED -list",
    "sh -c 'mysql -u root -phunter2 < dump.sql'": "sh -c 'mysql -u root -pREDACTED < dump.sql'",
    "bash -lc 'sshpass -p hunter2 ssh host'": "bash -lc 'sshpass -p REDACTED ssh host'",
    "sh -c 'curl -s -u ann:hunter2 https://example.com'": "sh -c 'curl -s -u ann:REDACTED https://example.com'",
    "smbclient -U ann%hunter2 //host/share": "smbclient -U ann%REDACTED //host/share",
    "7z x -phunter2 a.7z": "7z x -pREDACTED a.7z",
    "rar a -hphunter2 a.rar b": "rar a -hpREDACTED a.rar b",
    "zip -rP hunter2 a.zip b": "zip -rP REDACTED a.zip b",
    "ldapsearch -xw hunter2 -b dc=x": "ldapsearch -xw REDACTED -b dc=x",
    "sudo htpasswd -b file ann hunter2": "sudo htpasswd -b file ann REDACTED",
    "htpasswd -cbB file ann hunter2": "htpasswd -cbB file ann REDACTED",
    "htpasswd -nb ann hunter2": "htpasswd -nb ann REDACTED",
    "plink -pw hunter2 ann@host": "plink -pw REDACTED ann@host",
    "xfreerdp /u:ann /p:hunter2 /v:host": "xfreerdp /u:ann /p:REDACTED /v:host",
    "rpcclient -U ann%hunter2 host": "rpcclient -U ann%REDACTED host",
    "fetch '/prices?key=hunter2&n=1'": "fetch '/prices?key=REDACTED&n=1'",
    "sh -c 'ldapsearch -x -w hunter2 -b dc=x | head'": "sh -c 'ldapsearch -x -w REDACTED -b dc=x | head'",
    "sh -c 'cd /srv && zip -P hunter2 a.zip b > log'": "sh -c 'cd /srv && zip -P REDACTED a.zip b > log'",
    "sh -c '7z a -phunter2 a.7z b; true'": "sh -c '7z a -pREDACTED a.7z b; true'",
    "sh -c 'htpasswd -b file ann hunter2 2>&1'": "sh -c 'htpasswd -b file ann REDACTED 2>&1'",
    "sh -c 'smbclient //h/s -U ann%hunter2 -c ls'": "sh -c 'smbclient //h/s -U ann%REDACTED -c ls'",
    "sh -c 'redis-cli -a hunter2 ping'": "sh -c 'redis-cli -a REDACTED ping'",
}
KEPT_COMMANDS = [
    "pytest --passes=3 -p no:cacheprovider",
    "serve -p 8080",
    "docker run -p 8080:80 app",
    "train --tokenizer bert-base --max-token 512 --pad-token '<pad>' --max_tokens=4096",
    "python password_reset.py --all",
    "git show 3f786850e387550fdab836ed7e6dc881de23001b",
    "git checkout 3f78685",
    "ssh -i ~/.ssh/id_ed25519 ann@host",
    "rsync --password-file=/etc/rsync.secret a b",
    "docker login --password-stdin",
    "ansible-playbook --private-key ~/.ssh/id_ed25519 site.yml",
    "env PWD=/home/ann make",
    "npm install --registry http://registry:4873/@scope/package",
    "mysql -u root -p shop",
    "make -j4 test-password test-token",
    "compass --bypass=1 --compare keys",
    "app --use-auth-token=true --token none",
    "mkdir -p secrets/token",
    "htpasswd -c file ann",
    "unzip -p a.zip b",
    "sh -c 'zip -r a.zip b -x c > log'",
    "tar -cpf a.tar sk-learn task-0123456789abcdef0123",
]
TEXTS = {
    "connecting with password=hunter2": "connecting with password=REDACTED",
    "Password: hunter2": "Password: REDACTED",
    "DB_PASSWORD='hunter 2'": "DB_PASSWORD='REDACTED'",
    '{"password": "hunter2", "n": 1}': '{"password": "REDACTED", "n": 1}',
    "{'api_key': 'hunter2', 'n': 1}": "{'api_key': 'REDACTED', 'n': 1}",
    '{"clientSecret":"hunter2"}': '{"clientSecret":"REDACTED"}',
    r'"{\"password\": \"hunter2\"}"': r'"{\"password\": \"REDACTED\"}"',
    "Server=db;User=ann;Pwd=hunter2": "Server=db;User=ann;Pwd=REDACTED",
    "Authorization: Basic aHVudGVyMg==": "Authorization: Basic REDACTED",
    "> authorization: Bearer hunter2": "> authorization: Bearer REDACTED",
    "Cookie: session=hunter2; a=b": "Cookie: REDACTED",
    "sent Bearer abcdef0123456789": "sent Bearer REDACTED",
    "cannot connect to postgresql+psycopg://ann:hunter2@db:5432/shop": (
        "cannot connect to postgresql+psycopg://ann:REDACTED@db:5432/shop"
    ),
    "DSN https://0123456789abcdef0123456789abcdef@o1.ingest.example/1": "DSN https://REDACTED@o1.ingest.example/1",
    "+ mysql -u root -phunter2 shop": "+ mysql -u root -pREDACTED shop",
    "+ deploy --password hunter2 --now": "+ deploy --password REDACTED --now",
    "token ghp_0123456789abcdefghijABCDEFGHIJ012345": "token REDACTED",
    "key sk-proj-0123456789abcdefABCDEF": "key REDACTED",
    f"sent tdk_abcdefg2_{'abcdefghijklmnopqrstuvwxyz' * 2} 42%": "sent REDACTED 42%",
    "GET /v1/stream/tdt_X0KkaFxpoONY-oVtUuawhOK5knTSGe55": "GET /v1/stream/REDACTED",
    "slack xoxb-0123456789-abcdef": "slack REDACTED",
    "id AKIAIOSFODNN7EXAMPLE": "id REDACTED",
    "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "jwt REDACTED",
    "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabcd\n-----END RSA PRIVATE KEY-----\nb": "a\nREDACTED\nb",
    "MIIE\nabcd\n-----END PRIVATE KEY-----\nb": "REDACTED\nb",
    "a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz": "a\nREDACTED",
    f"{'aB3+' * 16}": "REDACTED",
    "access denied (token=hunter2)": "access denied (token=REDACTED)",
}
KEPT_TEXTS = [
    "3 passed, 1 failed, pass=3",
    "tests/test_password.py::test_token PASSED [ 25%]",
    "SyntaxError: unexpected token: else",
    "read 512 tokens: 100%",
    "token=512 loss=0.25",
    "eos_token=</s> pad_token=<pad>",
    "password_reset.py: 25% done",
    "listening on http://127.0.0.1:8765/ws",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    f"{'0123456789abcdef' * 4}",
    "use_auth_token=False",
    "PWD=/home/ann",
    "password authentication failed for user ann",
    "the password is wrong; the token has expired",
    "Downloading task-0123456789abcdef0123.tar: 40%",
    "-----BEGIN CERTIFICATE-----",
    "cd /srv && cp -p a b",
    "zip the files; 7z is not found - ldap server (port 389) is up",
    "revoked the key tdk_abcdefg2 of ci",
    "is it done? see the key below & wait",
]


LETTERS = "abcdef0123456789" * 3
PREFIXES = (
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "glrt-", "gldt-", "sk-", "rk_live_", "sk_test_"),
    *("pk_live_", "xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "AIza", "ya29.", "npm_"),
    *("pypi-AgE", "hf_", "dop_v1_", "doo_v1_", "dor_v1_", "hvs.", "hvb.", "shpat_", "shpss_", "shpca_", "shppa_"),
)
TOKENS = [
    *(prefix + LETTERS for prefix in PREFIXES),
    *(prefix + LETTERS.upper() for prefix in ("AKIA", "ASIA", "AGE-SECRET-KEY-1")),
    f"SG.{LETTERS}.{LETTERS}",
    f"tdk_abcdefg2_{'abcdefghijklmnopqrstuvwxyz' * 2}",
    f"eyJ{LETTERS}.eyJ{LETTERS}.{LETTERS}",
]
NAMES = (
    *("password", "passwd", "passphrase", "passcode", "secret", "api_key", "accessKey", "secret-key", "account_key"),
    *("AuthKey", "signing_key", "encryption-key", "privateKey", "credential", "CREDENTIALS", "SSHPASS", "storepass"),
    *("keypass", "pwd", "MYSQL_PWD", "db_pass", "proxy_auth", "token", "Authorization", "cookie", "X-Api-Key"),
    *("X-Auth-Token", "Private-Token", "X-Vault-Token"),
)


@pytest.mark.parametrize("token", TOKENS)
def test_token_with_a_known_prefix_is_redacted_without_other_words(token: str) -> None:
    assert redact_text(f"at {token} 42%") == "at REDACTED 42%"


@pytest.mark.parametrize("name", NAMES)
def test_value_of_each_known_name_is_redacted(name: str) -> None:
    for text in (f"{name}={SECRET}9", f"{name.upper()}: {SECRET}9", f'{{"{name.lower()}": "{SECRET}9"}}'):
        assert SECRET not in redact_text(text)


@pytest.mark.parametrize(("command", "expected"), COMMANDS.items())
def test_command_with_a_secret_is_redacted(command: str, expected: str) -> None:
    assert shlex.join(redact_command(shlex.split(command))) == expected


@pytest.mark.parametrize("command", KEPT_COMMANDS)
def test_command_without_a_secret_is_kept(command: str) -> None:
    assert redact_command(shlex.split(command)) == shlex.split(command)


@pytest.mark.parametrize(("text", "expected"), TEXTS.items())
def test_text_with_a_secret_is_redacted(text: str, expected: str) -> None:
    assert redact_text(text) == expected


@pytest.mark.parametrize("text", KEPT_TEXTS)
def test_text_without_a_secret_is_kept(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize("text", [*TEXTS, *KEPT_TEXTS, *COMMANDS, *KEPT_COMMANDS])
def test_redaction_of_redacted_text_changes_nothing(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


_SECRETS = st.text(
    string.ascii_letters + string.digits + "+/=@:!#%&*^~,;<>()[]{}|?'\"\\ ", min_size=6, max_size=30
).map(lambda middle: f"Zq{middle}9x")
_SHAPES: dict[str, list[str]] = {
    "mysql": ["-p{}", "--password={}"],
    "mysqldump": ["-p{}", "--password={}"],
    "mariadb": ["-p{}"],
    "sshpass": ["-p{}", "-p|{}"],
    "curl": ["-u|ann:{}", "-uann:{}", "--user|ann:{}", "--user=ann:{}", "-su|ann:{}", "-H|Authorization: Bearer Z{}"],
    "redis-cli": ["-a|{}"],
    "mongosh": ["-p|{}"],
    "program": [
        "--password|{}",
        "--password={}",
        "--db-password={}",
        "--token|{}",
        "--token={}",
        "--api-key|{}",
        "--apiKey={}",
        "--client-secret={}",
        "AWS_SECRET_ACCESS_KEY={}",
        "GITHUB_TOKEN={}",
        "DB_PASS={}",
        "--env=DB_PASSWORD={}",
        "-Dapp.password={}",
    ],
}
_WORDS = st.lists(st.sampled_from(["-v", "--all", "db", "a=b", "-n", "3", "https://host/x"]), max_size=3)


@st.composite
def _commands(draw: st.DrawFn) -> tuple[str, list[str]]:
    program = draw(st.sampled_from(sorted(_SHAPES)))
    wrapper = draw(st.sampled_from([[], ["sudo", "-E"], ["env", "A=b"], ["nice", "-n", "5"], ["timeout", "5"]]))
    secret = draw(_SECRETS)
    shape = draw(st.sampled_from(_SHAPES[program]))
    own = [part.format(secret) for part in shape.split("|")] if "{}" in shape else [shape]
    return secret, [*wrapper, program, *draw(_WORDS), *own, *draw(_WORDS)]


@given(_commands())
def test_secret_of_any_command_is_redacted(generated: tuple[str, list[str]]) -> None:
    secret, command = generated
    # A quote in a header ends the redaction of the header, and the rest of the argument is text.
    assert not any(secret in argument for argument in redact_command(command))


@given(st.text(max_size=300))
def test_any_text_is_redacted_without_an_error(text: str) -> None:
    redact_text(text)
    redact_command([text, text])


@pytest.mark.parametrize(
    "filler",
    [
        *("a", "-", " ", "mysql ", "-p", '"', "\\", "password", "token=", "://", "x:", "AbC1", "mysql -", "curl "),
        *("://a:b", "zip ", 'zip "', "htpasswd -b ", "docker login ", "zip -P x "),
    ],
)
def test_long_hostile_text_is_redacted_in_linear_time(filler: str) -> None:
    # Quadratic time would take minutes, beyond the time limit of a test.
    redact_text(filler * (400_000 // len(filler)))


def test_members_with_known_names_are_redacted() -> None:
    value = {"user": "ann", "password": "x", "n": 3, "nested": [{"apiKey": {"a": 1}}, "token=abc1"], "max_token": 512}
    assert redact_json(value) == {
        "user": "ann",
        "password": REDACTED,
        "n": 3,
        "nested": [{"apiKey": REDACTED}, f"token={REDACTED}"],
        "max_token": 512,
    }


def test_pattern_of_a_user_replaces_each_match() -> None:
    redactor = Redactor([compile_pattern(r"customer-\d+")])
    assert redactor.text("customer-17 and customer-18\npassword=x1") == "REDACTED and REDACTED\npassword=REDACTED"
    assert redactor.command(["import", "--for", "customer-17"]) == ["import", "--for", REDACTED]


def test_long_line_is_cut_before_a_pattern_of_a_user() -> None:
    redactor = Redactor([compile_pattern("b+")])
    assert redactor.text("a" * MAX_LINE_CHARS + "bbb") == "a" * (MAX_LINE_CHARS - 1) + "…"


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "*a", "(a+)+$", "(a|b)*c", "((a*)b)*", "(?:x+x+)+y", "a*", "", "(a+){20}", ".*.*.*x"]
)
def test_invalid_or_costly_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="invalid regular expression") as caught:
        compile_pattern(pattern)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [r"\d{4}-\d{4}", "(foo|bar)", r"(?i)key: \S+", "(ab)+", "[(+*]+", r"\(a+\)+", "(?P<name>[a-z]+) x", "a{3}b?"],
)
def test_usual_pattern_is_accepted(pattern: str) -> None:
    assert compile_pattern(pattern) == re.compile(pattern)
