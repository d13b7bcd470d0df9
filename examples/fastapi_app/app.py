"""Orders over HTTP: a request starts a run and does not wait for it; the run survives the request and the process."""

from contextlib import suppress
from typing import Annotated, Any

import problems
from fastapi import Body, FastAPI, Header, HTTPException, Query, Response
from orders import Order, OrderId, durable, process_order

from durable_async import RunError, RunInfo

IdempotencyKey = Annotated[OrderId | None, Header()]
INTERNAL = {"error": {"traceback", "cause"}}

app = FastAPI(lifespan=durable.lifespan(worker=True))  # worker=False where `durable worker orders:durable` runs
problems.install(app)


@app.post("/orders", status_code=202)
async def place(order: Order, response: Response, idempotency_key: IdempotencyKey = None) -> dict[str, str]:
    handle = await durable.start(process_order, order, id=idempotency_key or order.id)
    response.headers["Location"] = app.url_path_for("look", id=handle.id)
    return {"id": handle.id}


@app.get("/orders/{id}", response_model_exclude=INTERNAL)
async def look(id: OrderId, wait: Annotated[float, Query(ge=0, le=30)] = 0) -> RunInfo:
    if wait:
        with suppress(TimeoutError, RunError):
            await durable.run(id).result(wait)  # giving up, or hanging up, does not touch the run
    return await durable.get(id)


@app.get("/orders/{id}/children", response_model_exclude={"__all__": INTERNAL})
async def children(id: OrderId) -> list[RunInfo]:
    return await durable.list_children(id)


@app.post("/orders/{id}/events/{name}", status_code=202)
async def tell(
    id: OrderId, name: str, payload: Annotated[Any, Body()] = None, idempotency_key: IdempotencyKey = None
) -> None:
    await durable.send_event(id, name, payload, event_id=idempotency_key)


@app.delete("/orders/{id}", status_code=202)
async def cancel(id: OrderId) -> None:
    if not await durable.cancel(id, "cancelled by the customer"):
        raise HTTPException(409, f"order {id} has ended, or is being cancelled")
