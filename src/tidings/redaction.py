"""Redaction: replaces what looks like a secret in command lines, output and error texts.

The rules know the usual shapes: flags and variables with known names, options of well-known programs, addresses with
passwords, HTTP headers, private keys, and tokens with a known prefix. They cannot know every secret; SECURITY.md states
what remains. All patterns take linear time, because the texts are those of foreign programs.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, Final

REDACTED: Final = "REDACTED"
"""The replacement of a secret: a word that neither shells nor URLs have to quote."""
MAX_LINE_CHARS: Final = 1_000
"""Longest line, in characters, for patterns of users, which may take quadratic time or more; the rest is left out."""
_MAX_REPETITIONS: Final = 2
"""Unbounded repetitions in a pattern of a user. The time grows with the line's length to the power of one more."""

# Names of flags, variables and fields. They may be the end of longer ones: PGPASSWORD, dbPassword, --smtp-password.
_ANY_NAME = (
    r"password|passwd|passphrase|passcode|secret|api[_-]?key|access[_-]?key|secret[_-]?key|account[_-]?key|auth[_-]?key"
    r"|signing[_-]?key|encryption[_-]?key|private[_-]?key|credentials?|sshpass|storepass|keypass"
    r"|(?<![a-z])pwd|_pwd|_pass|_auth"
)
_TOKEN_NAME = r"(?<!bos.)(?<!eos.)(?<!pad.)(?<!unk.)(?<!sep.)(?<!cls.)(?<!mask.)token"  # special tokens of a tokenizer
_NAME = rf"(?:{_ANY_NAME}|{_TOKEN_NAME})"
_QUOTED = r'\\?"(?:[^"\\\n]|\\[^"\n])*\\?"|' + r"'(?:[^'\\\n]|\\.)*'"
_VALUE = rf"(?:{_QUOTED}|\S+)"

_ASSIGNMENT = re.compile(rf"({_NAME})(\\?[\"']?[ \t]*(?:=>|:=|=|:)[ \t]*)([bru]?{_VALUE})", re.IGNORECASE)
_FLAG = re.compile(
    rf"(?<![\w-])(--?(?:[\w.-]{{0,40}}?(?:{_NAME})|(?:[\w.-]{{0,40}}-)?pass(?:in|out)?))([ \t]+)(?!-)({_VALUE})",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(authorization|cookie|x-api-key|x-auth-token|private-token|x-vault-token)"
    r"(\\?[\"']?[ \t]*[:=][ \t]*\\?[\"']?[ \t]*(?:(?:basic|bearer|token|digest|negotiate|apikey)[ \t]+)?)"
    r"([^\s\"'][^\"'\n]*)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\b(?:bearer|basic)[ \t]+)(?=[^\s\"']*\d)[\w.~+/-]{8,}=*", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^\s:/@\"'?#]*:)(?!\d{1,5}(?:[/?#]|$))([^\s\"'<>]{1,500})(?=@)")
_URL_TOKEN = re.compile(r"(://)[\w.~-]{20,}(?=@)")
_QUERY = re.compile(
    r"([?&](?:key|sig|auth|code|pass|pwd?|signature|x-amz-(?:signature|credential))=)[^\s&\"'#]+", re.IGNORECASE
)
_OPENSSL = re.compile(r"(?<![\w:.-])(pass:)([^\s\"']{2,})")
_COMMAND_PASSWORD = re.compile(
    rf"(?<![\w.-])((?:mysql|mariadb)[\w-]*(?:\.exe)?\b(?:[ \t]+(?!-p)[^\s|;&]+){{0,20}}[ \t]+-p"
    rf"|sshpass[ \t]+-p[ \t]*)({_VALUE})"
)
_COMMAND_USER = re.compile(
    r"(?<![\w.-])(curl\b(?:[ \t]+(?!-[a-zA-Z]*[uU]\b|-[uU]|--(?:proxy-)?user\b)[^\s|;&]+){0,20}"
    r"[ \t]+(?:-[a-zA-Z]*[uU][ \t]*|--(?:proxy-)?user[ \t=]+)[\"']?[^\s:\"']*:)([^\s\"']+)"
)
_LISTED_COMMAND = re.compile(
    r"(?<![\w.-])(?:7z|htpasswd|isql|ldap|lftp|mcrypt|mosquitto|plink|pscp|psftp|redis-cli|r(?:ar|desktop|pcclient)"
    r"|smb(?:client|get)|snmp|unrar|unzip|xfreerdp|zip)\w*(?:\.exe)?(?=[ \t])"
    r"(?:\"[^\"\n]*\"|'[^'\n]*'|(?!(?<=\s)\d[<>])[^\n|;&<>\"'])+"
)
_SHELL_WORD = re.compile(r"(?:\"[^\"]*\"|'[^']*'|[^\s\"'])+")
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|gl(?:pat|rt|dt)-[\w-]{16,}"
    r"|sk-(?=[\w-]*\d)[\w-]{16,}|tdk_[a-z2-7]{8}_[a-z2-7]{16,}|tdt_[\w-]{16,}|[rsp]k_(?:live|test)_\w{10,}|xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{10,}"
    r"|A(?:KI|SI)A[A-Z0-9]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{16,}"
    r"|hf_[A-Za-z0-9]{30,}|do[por]_v1_[a-f0-9]{32,}|SG\.[\w-]{16,}\.[\w-]{16,}|hv[sb]\.[\w-]{16,}"
    r"|shp(?:at|ss|ca|pa)_[a-f0-9]{16,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}|eyJ[\w-]{8,}\.eyJ[\w-]{4,}(?:\.[\w-]*)?)"
)
_KEY_BEGIN: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_END: Final = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"(?m)^(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[A-Za-z0-9+/]{64,76}$")  # the middle of a private key

_MIN_KEY_LINE: Final = 64
# A word of each alternative, in lower case.
_NAME_WORDS = ("pass", "pwd", "secret", "key", "token", "credential", "_auth")
_HEADER_WORDS = ("authorization", "cookie", "-key", "-token", "bearer", "basic")
_PROGRAM_WORDS = ("mysql", "mariadb", "sshpass", "curl")
_LISTED_WORDS = (
    *("7z", "htpasswd", "isql", "ldap", "lftp", "mcrypt", "mosquitto", "plink", "pscp", "psftp", "rar", "rdesktop"),
    *("redis-cli", "rpcclient", "smbclient", "smbget", "snmp", "xfreerdp", "zip"),
)
_TOKEN_WORDS = (
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "glrt-", "gldt-", "sk-", "k_live_", "k_test_"),
    *(
        "tdt_",
        "xox",
        "xapp-",
        "akia",
        "asia",
        "aiza",
        "ya29.",
        "npm_",
        "pypi-",
        "hf_",
        "_v1_",
        "sg.",
        "hvs.",
        "hvb.",
        "shp",
    ),
    *("age-secret-key", "eyj", "tdk_"),
)

# One of these words, of `://` and of a private key. First letters are tried once for all words, which is several times
# faster than a search for each.
_HINT = re.compile(
    r"://|[?&](?:auth|code|pwd?|sig)|7z|htp|isql|l(?:dap|ftp)|mcrypt|mosq|p(?:link|scp|sftp)|r(?:ar |desk|edis|pcc)"
    r"|smb|snmp|xfreerdp|zip|-(?:key|token)|_(?:auth|v1_)|a(?:ge-secret|iza|kia|sia|uthorization)"
    r"|b(?:asic|earer)|c(?:ookie|redential|url)"
    r"|eyj|g(?:h[opurs]_|ithub_pat_|l(?:dt|pat|rt)-)|h(?:f_|v[sb]\.)|k(?:ey|_(?:live|test)_)|m(?:ariadb|ysql)|npm_"
    r"|p(?:ass|wd|ypi-)|s(?:ecret|g\.|hp|k-)|t(?:d[kt]_|oken)|x(?:app-|ox)|ya29\."
)

# Values that are not secrets, whatever their name.
_PLAIN = re.compile(r"(?:true|false|none|null|nil|yes|no|on|off|undefined|\d)", re.IGNORECASE)
_RANDOM = re.compile(r"(?=\S*\d)\S{8,}")
_PATH = re.compile(r"(?:~|\.{0,2}/|[A-Za-z]:\\)[^=]*")
_CLOSING = "\"'`)]},;"


def redact_text(text: str) -> str:
    """Return `text`, of one line or more, with `REDACTED` in place of what looks like a secret."""
    # Most texts hold none of these words, and searching for a word is far faster than for a pattern.
    lowered = text.lower()
    if _HINT.search(lowered) is None:
        return _KEY_LINE.sub(REDACTED, text) if len(text) >= _MIN_KEY_LINE else text
    if "PRIVATE KEY" in text:
        text = _without_keys(text)
    if len(text) >= _MIN_KEY_LINE:
        text = _KEY_LINE.sub(REDACTED, text)
    lowered = text.lower()
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1{REDACTED}", text)
        text = _URL_TOKEN.sub(rf"\1{REDACTED}", text)
    if "?" in text or "&" in text:
        text = _QUERY.sub(rf"\1{REDACTED}", text)
    if _holds(lowered, _TOKEN_WORDS):
        text = _TOKEN.sub(REDACTED, text)
    if _holds(lowered, _HEADER_WORDS):
        text = _HEADER.sub(rf"\1\2{REDACTED}", text)
        text = _BEARER.sub(rf"\1{REDACTED}", text)
    if _holds(lowered, _NAME_WORDS):
        text = _ASSIGNMENT.sub(_assigned, text)
        text = _FLAG.sub(_assigned, text)
        text = _OPENSSL.sub(rf"\1{REDACTED}", text)
    if _holds(lowered, _PROGRAM_WORDS):
        text = _COMMAND_PASSWORD.sub(rf"\1{REDACTED}", text)
        text = _COMMAND_USER.sub(rf"\1{REDACTED}", text)
    if _holds(lowered, _LISTED_WORDS):
        text = _LISTED_COMMAND.sub(_redact_listed, text)
    return text


def _holds(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def redact_command(arguments: Sequence[str]) -> list[str]:
    """Return a command line with `REDACTED` in place of what looks like a secret.

    Args:
        arguments: Program and arguments. The program may follow others, as `sudo`, `env` or `ssh HOST`.
    """
    redacted: list[str] = []
    options: _Options = ()
    secret_next: str | None = None
    # Positional arguments before those that are secrets; None if no position is one.
    open_positions: int | None = None
    for position, argument in enumerate(arguments):
        if secret_next is not None:
            redacted.append(_hide_value(argument, secret_next))
            secret_next = None
            continue
        program = PurePath(argument.replace("\\", "/")).name.removesuffix(".exe").lower()
        options = _options_of(program, arguments, position) or options
        if program == "htpasswd":
            open_positions = _open_positions(arguments[position + 1 : position + _MAX_OPTIONS])
        if argument == "--" or _is_known_program(program):
            redacted.append(argument)
            continue
        if open_positions is not None and not argument.startswith("-"):
            open_positions -= 1
            if open_positions < 0:
                redacted.append(REDACTED)
                continue
        changed, secret_next = _redact_argument(argument, options)
        redacted.append(changed)
    return redacted


def redact_json(value: Any) -> Any:
    """Return a JSON value with `REDACTED` in place of members with known names, and of secrets in its texts."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, list):
        return [redact_json(each) for each in value]
    if isinstance(value, dict):
        return {
            name: REDACTED if _MEMBER.search(name) and not _is_plain(name, str(member)) else redact_json(member)
            for name, member in value.items()
        }
    return value


class Redactor:
    """Redacts secrets, and whatever the patterns of a user match.

    Args:
        patterns: Patterns from `compile_pattern`; each match is replaced.
    """

    def __init__(self, patterns: Iterable[re.Pattern[str]] = ()) -> None:
        self._patterns = tuple(patterns)

    def text(self, text: str) -> str:
        """Return a text of one line or more, redacted."""
        if self._patterns:
            text = "\n".join(map(self._line, text.split("\n")))
        return redact_text(text)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return a command line, redacted."""
        if self._patterns:
            arguments = ["\n".join(map(self._line, argument.split("\n"))) for argument in arguments]
        return redact_command(arguments)

    def _line(self, line: str) -> str:
        if len(line) > MAX_LINE_CHARS:
            line = line[: MAX_LINE_CHARS - 1] + "…"
        for pattern in self._patterns:
            line = pattern.sub(lambda match: REDACTED if match[0] else "", line)
        return line


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern of a user.

    Raises:
        ValueError: It is not a valid regular expression, or it could take exponential time.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"invalid regular expression {pattern!r}: {error}") from error
    if compiled.fullmatch("") is not None:
        raise ValueError(f"invalid regular expression {pattern!r}: expected one that does not match the empty text")
    _check_cost(pattern)
    return compiled


# Command lines.

_Options = tuple[tuple[str, str], ...]
"""Options with a secret: the flag, and how it takes its value: `attached` (-pX), `next` (-p X), `both`, or `user`
(-u USER:PASSWORD, attached or next)."""

_MYSQL: _Options = (("-p", "attached"),)
_NEXT_P: _Options = (("-p", "both"),)
_OPTIONS: dict[str, _Options] = {
    "sshpass": _NEXT_P,
    "mongo": _NEXT_P,
    "mongosh": _NEXT_P,
    "mongodump": _NEXT_P,
    "mongorestore": _NEXT_P,
    "mongoexport": _NEXT_P,
    "mongoimport": _NEXT_P,
    "beeline": _NEXT_P,
    "twine": _NEXT_P,
    **dict.fromkeys(("7z", "7za", "7zr", "7zz"), (("-p", "attached"),)),
    **dict.fromkeys(("rar", "unrar"), (("-p", "attached"), ("-hp", "attached"))),
    **dict.fromkeys(("zip", "unzip"), (("-P", "both"),)),
    "redis-cli": (("-a", "next"),),
    "sqlcmd": (("-P", "both"),),
    "bcp": (("-P", "both"),),
    "ipmitool": (("-P", "both"),),
    "mosquitto_pub": (("-P", "both"),),
    "mosquitto_sub": (("-P", "both"),),
    **dict.fromkeys(
        ("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldapcompare", "ldapmodrdn"),
        (("-w", "both"),),
    ),
    "ldappasswd": (("-w", "both"), ("-s", "both"), ("-a", "both")),
    **dict.fromkeys(("plink", "pscp", "psftp"), (("-pw", "next"),)),
    **dict.fromkeys(("snmpget", "snmpwalk", "snmpset", "snmpbulkwalk"), (("-A", "both"), ("-X", "both"))),
    "rdesktop": _NEXT_P,
    "xfreerdp": (("/p:", "attached"),),
    "isql": (("-P", "both"),),
    "mcrypt": (("-k", "both"),),
    "openssl": (("-k", "next"), ("-K", "next")),
    "curl": (
        ("-u", "user"),
        ("-U", "user"),
        ("--user", "user"),
        ("--proxy-user", "user"),
        ("--oauth2-bearer", "next"),
        ("-b", "both"),
        ("--cookie", "next"),
    ),
    "http": (("-a", "user"), ("--auth", "user")),
    "https": (("-a", "user"), ("--auth", "user")),
    "lftp": (("-u", "user"),),
    **dict.fromkeys(("smbclient", "smbget", "rpcclient"), (("-U", "user"),)),
}
_LOGIN_PROGRAMS = frozenset({"docker", "podman", "helm", "nerdctl", "buildah", "skopeo", "oras", "oc", "cf", "az"})
"""Programs whose `-p` is a password, or for `skopeo` none, after the word `login`, and something else elsewhere."""
_ARGUMENT_NAME = re.compile(rf"[^\s\"']*?(?:{_NAME})[=:]", re.IGNORECASE)
_FLAG_NAME = re.compile(rf"--?[\w.-]*?(?:{_NAME}|(?<=-)pass(?:in|out)?|(?<=-)auth)", re.IGNORECASE)
_MEMBER = re.compile(rf"(?:{_NAME}|authorization|cookie)$", re.IGNORECASE)
_FLAG_PASS = re.compile(r"(--?pass(?:in|out)?=)(.+)", re.IGNORECASE | re.DOTALL)
_CURL_CLUSTER = re.compile(r"-[a-zA-Z#]*?[uU]")
_MAX_OPTIONS = 64
"""Arguments after a program in which its options are looked for, which bounds the time for a long text."""
_CLUSTER = re.compile(r"-[a-zA-Z]{2,8}")
_USER_SEPARATOR = re.compile(r"[:%,]")


def _options_of(program: str, arguments: Sequence[str], position: int) -> _Options:
    if program.startswith(("mysql", "mariadb")):
        return _MYSQL
    if program in _LOGIN_PROGRAMS:
        return _NEXT_P if "login" in arguments[position + 1 : position + _MAX_OPTIONS] else ()
    return _OPTIONS.get(program, ())


def _open_positions(rest: Sequence[str]) -> int | None:
    """Return how many positional arguments of htpasswd come before the password; None if it is not an argument."""
    flags = "".join(argument[1:] for argument in rest if re.fullmatch(r"-[a-zA-Z]+", argument))
    if "b" not in flags:
        return None
    return 1 if "n" in flags else 2


def _is_known_program(program: str) -> bool:
    return program == "htpasswd" or program in _OPTIONS or program in _LOGIN_PROGRAMS


def _redact_argument(argument: str, options: _Options) -> tuple[str, str | None]:
    """Return one argument, redacted, and how to hide the next one; None if that is not a secret."""
    for flag, form in options:
        if argument == flag or (form == "user" and len(flag) == 2 and _CURL_CLUSTER.fullmatch(argument)):
            if form != "attached":
                return argument, form
        elif form == "both" and len(flag) == 2 and _CLUSTER.fullmatch(argument) and argument.endswith(flag[1]):
            return argument, form
        elif flag.startswith("--"):
            if argument.startswith(f"{flag}="):
                return f"{flag}={_hide_value(argument[len(flag) + 1 :], form)}", None
        elif argument.startswith(flag) and not argument.startswith("--") and form != "next":
            return flag + _hide_value(argument[len(flag) :], form), None
    if _FLAG_NAME.fullmatch(argument):
        return argument, f"name {argument}"
    named = _FLAG_PASS.fullmatch(argument)
    if named is not None:
        return named[1] + REDACTED, None
    assigned = _ARGUMENT_NAME.match(argument)
    if assigned is not None:
        name, value = argument[: assigned.end()], argument[assigned.end() :]
        if value and not _is_plain(name.rstrip("=:"), value.strip("\"'")):
            return redact_text(name[:-1]) + name[-1] + REDACTED, None
    return redact_text(argument), None


def _hide_value(value: str, form: str) -> str:
    """Return what an option's value becomes."""
    if form == "user":
        separator = _USER_SEPARATOR.search(value)
        return value[: separator.end()] + REDACTED if separator else redact_text(value)
    if form.startswith("name "):
        name = form.removeprefix("name ")
        if _is_plain(name, value):
            return value
        if name.lower().endswith("-auth") and ":" in value:
            return _hide_value(value, "user")
    return REDACTED


# Texts.


def _redact_listed(match: re.Match[str]) -> str:
    """Return a command line of a listed program that stands in a text, redacted."""
    words = list(_SHELL_WORD.finditer(match[0]))
    parts: list[str] = []
    at = 0
    for word, redacted in zip(words, redact_command([word[0] for word in words]), strict=True):
        parts += [match[0][at : word.start()], redacted]
        at = word.end()
    return "".join([*parts, match[0][at:]])


def _assigned(match: re.Match[str]) -> str:
    name, separator, value = match[1], match[2], match[3]
    bare = value.lstrip("bruBRU") if value[-1:] in "\"'" else value
    closing = bare[len(bare.rstrip(_CLOSING)) :] if bare[:1] not in "\"'\\" else ""
    inner = bare.strip("\\\"'") if not closing else bare.removesuffix(closing)
    if not inner or inner == REDACTED or inner.startswith(REDACTED) or _is_plain(name, inner):
        return match[0]
    prose = separator.strip(" \t") == ":" and separator != ":" and not separator.startswith(("'", '"', "\\"))
    if prose and name.lower() == "token" and not _RANDOM.fullmatch(inner):
        return match[0]  # `unexpected token: else`
    quote = bare[:1] if bare[:1] in "\"'" else '\\"' if bare.startswith('\\"') else ""
    return f"{name}{separator}{quote}{REDACTED}{quote or closing}"


def _is_plain(name: str, value: str) -> bool:
    """Return whether a value is not a secret in spite of its name."""
    if _PLAIN.fullmatch(value):
        return True
    name = name.lower()
    if name.endswith("token"):
        return value.isdecimal() and len(value) < 6  # a number of tokens, or the number of one
    if name.endswith(("key", "pwd", "credential", "credentials", "secret")):
        return _PATH.fullmatch(value) is not None  # PWD=/home/ann, --private-key ~/.ssh/id_ed25519
    return False


def _without_keys(text: str) -> str:
    """Return `text` without private keys in PEM, also if it holds only the beginning or the end of one."""
    parts: list[str] = []
    at = 0
    while True:
        begin, end = _KEY_BEGIN.search(text, at), _KEY_END.search(text, at)
        if begin is None and end is None:
            return "".join([*parts, text[at:]])
        if begin is not None and (end is None or begin.start() < end.start()):
            parts += [text[at : begin.start()], REDACTED]
            end = _KEY_END.search(text, begin.end())
        else:
            parts.append(REDACTED)  # the lines before are those of the key, whose beginning is cut off
        if end is None:
            return "".join(parts)
        at = end.end()


# Patterns of users.

_QUANTIFIER = re.compile(r"(\*|\+|\?|\{(\d*)(,?)(\d*)\})[?+]?")
_SMALL: Final = 16
"""Repetitions up to this number count as bounded."""


def _check_cost(pattern: str) -> None:
    """Check that a pattern cannot take exponential time, and that its polynomial is of a low degree."""
    repetitions = 0
    groups = [False]  # for each open group, whether it contains a choice of how to match
    after_group: bool | None = None  # whether the group that has just ended contains one
    at = 0
    while at < len(pattern):
        character = pattern[at]
        quantifier = _QUANTIFIER.match(pattern, at)
        if quantifier is not None and at:
            if _is_unbounded(quantifier):
                repetitions += 1
                if after_group:
                    raise ValueError(
                        f"invalid regular expression {pattern!r}: expected no repetition or alternative inside a "
                        "repeated group, which may take exponential time"
                    )
            groups[-1] = True
            after_group, at = None, quantifier.end()
            continue
        after_group = None
        if character == "\\":
            at += 2
        elif character == "[":
            at = _end_of_class(pattern, at)
        elif character == "(":
            groups.append(False)
            at += 2 if pattern.startswith("(?", at) else 1
        elif character == ")":
            after_group = groups.pop() if len(groups) > 1 else False
            groups[-1] = groups[-1] or after_group
            at += 1
        else:
            if character == "|":
                groups[-1] = True
            at += 1
    if repetitions > _MAX_REPETITIONS:
        raise ValueError(
            f"invalid regular expression {pattern!r}: expected at most {_MAX_REPETITIONS} unbounded repetitions"
        )


def _is_unbounded(quantifier: re.Match[str]) -> bool:
    if quantifier[1] in ("*", "+"):
        return True
    if quantifier[1] == "?":
        return False
    most = quantifier[4] if quantifier[3] else quantifier[2]
    return not most or int(most) > _SMALL


def _end_of_class(pattern: str, at: int) -> int:
    at += 2 if pattern.startswith("[^", at) else 1
    at += 1 if pattern.startswith("]", at) else 0
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
