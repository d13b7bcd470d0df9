"""What an exception of durable_async means in HTTP."""

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from durable_async import (
    InvalidInput,
    PayloadTooLarge,
    RunNotFound,
    RunNotWaiting,
    StoreUnavailable,
    WorkflowIdConflict,
)

STATUS = {
    RunNotFound: 404,
    WorkflowIdConflict: 409,  # the id belongs to an order with other contents
    RunNotWaiting: 409,  # it has ended, and takes no event
    PayloadTooLarge: 413,
    InvalidInput: 422,
    StoreUnavailable: 503,  # nobody knows whether it happened: repeat it with the same Idempotency-Key
}


async def explain(request: Request, error: Exception) -> Response:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, status, {"Retry-After": "5"} if status == 503 else None)


def install(app: FastAPI) -> None:
    for kind in STATUS:
        app.add_exception_handler(kind, explain)
