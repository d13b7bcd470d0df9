"""What an error from the server means for us: the one table that decides whether a command may be sent again.

Owns `ServerError` and `ConnectionLost` (what a transport hands to a callback), and `classify`, which maps either to a
`Verdict`. Every script is repeat-safe by its token, so "nothing ran" and "unknown" are both answered by sending the
same bytes again; the difference matters only to whoever reports an outcome. Whatever the table does not name is a bug:
a script that errors midway keeps its earlier writes, so sending it again would hide it.

It must not know scripts, keys or payloads, and no message made here holds any.
"""

from __future__ import annotations

import asyncio
import enum
import re
from dataclasses import dataclass
from typing import Final

from durable_async.errors import DurableError, StoreUnavailable


class ServerError(DurableError):
    """An error reply. `code` is its first word (``OOM``, ``NOSCRIPT``, ``ERR``), `text` the whole line.

    ``str()`` never holds arguments of the command: servers quote them for unknown commands, and that part is cut.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        head = text.split(" ", 1)[0]
        self.code = head if head.isupper() else "ERR"
        super().__init__(_safe(text))


_QUOTING: Final = re.compile(r",? with args beginning with:.*", re.DOTALL)
_MAX_TEXT: Final = 500


def _safe(text: str) -> str:
    # "ERR unknown command 'FOO', with args beginning with: ..." quotes what was sent: never into a log.
    return _QUOTING.sub("", text)[:_MAX_TEXT]


class ConnectionLost(StoreUnavailable):
    """The connection broke before the reply came.

    `sent` is False only if the command's bytes never left this process, so it certainly did not run; True means it is
    unknown whether it ran.
    """

    def __init__(self, why: str = "the connection to the server was lost", *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class TakeoverUnsupported(DurableError):
    """The installed redis-py has no stream of the expected shape: use the fallback transport."""


class Kind(enum.Enum):
    """What an error says about the command it answers."""

    NOTHING_RAN = "nothing ran"
    """Refused before the first write: send it again later."""
    UNKNOWN = "unknown"
    """It may have run: send the same bytes (same token) again."""
    FATAL = "fatal"
    """Nothing ran, and nothing will until an operator changes a password or an ACL."""
    ANSWER = "answer"
    """Not trouble but news, for whoever asked: a missing consumer group, an unblocked read."""
    BUG = "bug"
    """It may have run partly. Never sent again; logged at critical."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the table."""

    kind: Kind
    trouble: str
    """One word for logs, metrics and `Caller.trouble`."""
    cap_s: float = 2.0
    """The longest pause between two tries, in seconds."""
    needs_reconnect: bool = False
    """Whether another server may answer better: drop the connection and look the address up again."""
    advice: str = ""
    """What a person should do, for messages."""

    @property
    def is_retryable(self) -> bool:
        """Whether sending the same bytes again is right."""
        return self.kind is Kind.NOTHING_RAN or self.kind is Kind.UNKNOWN


_SLOW: Final = 5.0
_N: Final = Kind.NOTHING_RAN

TABLE: Final[dict[str, Verdict]] = {
    # The script cache is empty (SCRIPT FLUSH, restart, failover): the caller sends the source once.
    "NOSCRIPT": Verdict(_N, "NOSCRIPT"),
    # Memory is full: a script is refused at its first write; after a first write later ones go through.
    "OOM": Verdict(_N, "OOM", _SLOW, advice="raise maxmemory or delete data"),
    # The last snapshot or AOF write failed (disk full): every write is refused, reads go on.
    "MISCONF": Verdict(_N, "MISCONF", _SLOW, advice="the server cannot write to its disk: free space on it"),
    # Somebody's script has run for more than 5 s: everything, PING included, is refused.
    "BUSY": Verdict(_N, "BUSY", _SLOW, advice="a script blocks the server: SCRIPT KILL ends it"),
    # The data set is being read after a restart.
    "LOADING": Verdict(_N, "LOADING", _SLOW, advice="the server is reading its data: wait"),
    # This server was demoted; behind Sentinel or a moving address another one is primary now.
    "READONLY": Verdict(_N, "READONLY", needs_reconnect=True, advice="the server is a replica: use the primary"),
    # A replica that lost its primary and may not serve stale data.
    "MASTERDOWN": Verdict(
        _N, "MASTERDOWN", _SLOW, needs_reconnect=True, advice="the server is a replica: use the primary"
    ),
    # min-replicas-to-write is not met.
    "NOREPLICAS": Verdict(_N, "NOREPLICAS", _SLOW, advice="min-replicas-to-write is not met: start replicas"),
    # A slot moved, is moving, or half of a script's keys did.
    "MOVED": Verdict(_N, "MOVED"),
    "ASK": Verdict(_N, "ASK"),
    "TRYAGAIN": Verdict(_N, "TRYAGAIN"),
    # Some slots have no owner right now.
    "CLUSTERDOWN": Verdict(_N, "CLUSTERDOWN", _SLOW, advice="the cluster is failing over: wait"),
    # No or wrong credentials, or the ACL does not allow it.
    "NOAUTH": Verdict(Kind.FATAL, "NOAUTH", _SLOW, needs_reconnect=True, advice="give a user name and password"),
    "WRONGPASS": Verdict(
        Kind.FATAL, "WRONGPASS", _SLOW, needs_reconnect=True, advice="check the user name and password"
    ),
    "NOPERM": Verdict(Kind.FATAL, "NOPERM", _SLOW, advice="grant the user the rights listed in the documentation"),
    # A server open to the network without a password refuses strangers.
    "DENIED": Verdict(Kind.FATAL, "DENIED", _SLOW, advice="the server is in protected mode: set a password"),
    # Consumer groups: whoever reads repairs it.
    "NOGROUP": Verdict(Kind.ANSWER, "NOGROUP"),
    "BUSYGROUP": Verdict(Kind.ANSWER, "BUSYGROUP"),
    "UNBLOCKED": Verdict(Kind.ANSWER, "UNBLOCKED"),
    # Ours: keys of one script in two slots, a key of another type, a broken script or command.
    "CROSSSLOT": Verdict(Kind.BUG, "CROSSSLOT"),
    "WRONGTYPE": Verdict(Kind.BUG, "WRONGTYPE"),
    "EXECABORT": Verdict(Kind.BUG, "EXECABORT"),
    "ERR": Verdict(Kind.BUG, "ERR"),
}

# Errors that share the code ERR. Redis 7 and 8 and Valkey 9 put the code of a command refused within a script first and
# append "script: <sha>, on @user_script:1.", so codes need no searching; Redis 7 ends an ACL refusal with other words.
_TEXTS: Final[tuple[tuple[re.Pattern[str], Verdict], ...]] = (
    # SCRIPT KILL refuses to end a script that has written, so a killed one wrote nothing.
    (re.compile(r"Script killed by user with SCRIPT KILL"), Verdict(_N, "KILLED", _SLOW)),
    (re.compile(r"max number of clients\b.*reached"), Verdict(_N, "MAXCLIENTS", _SLOW, advice="raise maxclients")),
    # redis-py's cluster client gave up following redirections.
    (re.compile(r"TTL exhausted|Too many Cluster redirections"), Verdict(_N, "CLUSTERDOWN", _SLOW)),
    # Only the script as a whole is checked beforehand: by the time one of its commands is refused, others have written.
    (
        re.compile(r"ACL failure in script|The user executing the script can't"),
        Verdict(Kind.BUG, "ACL", advice="grant the user the rights listed in the documentation"),
    ),
)

LOST_UNSENT: Final = Verdict(_N, "CONNECTION", advice="check that the server runs and can be reached")
LOST_SENT: Final = Verdict(Kind.UNKNOWN, "CONNECTION", advice="check that the server runs and can be reached")
_BUG: Final = Verdict(Kind.BUG, "BUG")


def classify(error: BaseException) -> Verdict:
    """What `error`, from a transport or from redis-py, says about the command it answers.

    An error reply the table does not name, and any other exception, is a `Kind.BUG`.
    """
    if isinstance(error, ConnectionLost):
        return LOST_SENT if error.sent else LOST_UNSENT
    if isinstance(error, ServerError):
        return _of_reply(error)
    if isinstance(error, StoreUnavailable):
        return LOST_SENT
    if isinstance(error, TimeoutError | OSError | EOFError | asyncio.CancelledError):
        return LOST_SENT
    return _BUG


def _of_reply(error: ServerError) -> Verdict:
    row = TABLE.get(error.code)
    if row is None or error.code == "ERR":
        for pattern, found in _TEXTS:
            if pattern.search(error.text):
                return found
    return row if row is not None else Verdict(Kind.BUG, error.code)
