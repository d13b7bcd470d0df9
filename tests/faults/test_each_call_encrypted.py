"""D2, D23 under a codec that gives one value other bytes each time: a worker is struck at each of its calls.

What is compared with what is stored, in a replay, in the repetition of a commit, and in a second start under one id, is
compared by value; and nothing that a crash leaves behind can be read.
"""

from __future__ import annotations

import pytest

from durable_async import Encrypted
from durable_async.codec.envelope import ENCRYPTED

from .rig import FEW_STRIKES
from .snapshot import take
from .sweep import Case, EveryCall
from .test_each_call import two_levels


class EncryptedCase(Case):
    """With a key of its own."""

    codec = Encrypted({"k1": Encrypted.new_key()})

    def check(self) -> None:
        """The ledger's path is in every input, and in every call of a step; the event's payload in its message."""
        lines = [line for run in take(self.raw, self.namespace).runs.values() for line in run.journal]
        assert any(ENCRYPTED in line for line in lines)
        for secret in (self.book.path.encode(), b"nonce"):
            assert not [line for line in lines if secret in line]


@pytest.mark.slow
@pytest.mark.parametrize("strike", FEW_STRIKES)
async def test_d02_every_call_under_an_encrypting_codec(strike: str, every_call: EveryCall) -> None:
    await every_call(two_levels, strike, ("claim_runs", "commit_run", "resume_runs"), EncryptedCase)
