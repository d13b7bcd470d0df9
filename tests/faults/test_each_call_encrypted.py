"""D2, D23 under a codec that gives one value other bytes each time: a worker is struck at each of its calls.

What a replay compares with what is stored it compares by value; and nothing that a crash leaves behind can be read.
"""

from __future__ import annotations

import pytest

from durable_async import Durable, Encrypted
from durable_async.codec.envelope import ENCRYPTED

from . import flows_encrypted as flows
from .flows import PARENT_RESULT
from .rig import FEW_STRIKES
from .snapshot import take
from .sweep import Case, EveryCall


class EncryptedCase(Case):
    """With a key of its own."""

    flows = flows
    codec = Encrypted({"k1": Encrypted.new_key()})

    def check(self) -> None:
        """The ledger's path is in every input and context, and a nonce in the result of every step."""
        runs = take(self.raw, self.namespace).runs.values()
        stored = [line for run in runs for line in run.journal]
        stored += [value.encode() for run in runs for value in run.record.values()]
        assert sum(ENCRYPTED in line for line in stored) > 10
        for secret in (self.book.path.encode(), b"nonce"):
            assert not [line for line in stored if secret in line]


async def two_levels(case: Case, durable: Durable, ledger: str) -> None:
    handle = await durable.start(flows.secretive, {"ledger": ledger}, id="p")
    case.book.write("start", id="p")
    case.book.write("expect", id="p", value=PARENT_RESULT)
    await durable.send_event("p", "go", {"event": "e1"}, event_id="e1")
    case.book.write("event", id="p", name="go", event="e1")
    # Another start of the same: its input is other bytes, and joins.
    again = await durable.start(flows.secretive, {"ledger": ledger}, id="p")
    assert await handle.result() == await again.result() == PARENT_RESULT
    case.book.write("result", id="p", status="completed")
    info = await durable.get("p")
    assert info.context["go"] == {"event": "e1"} and info.context["given"] == {"ledger": ledger}


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_d02_every_call_under_an_encrypting_codec(strike: str, every_call: EveryCall) -> None:
    await every_call(two_levels, strike, ("claim_runs", "commit_run", "resume_runs"), EncryptedCase)
