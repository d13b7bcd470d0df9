"""`python -m benchmarks scaling`: throughput by number of worker processes, here and where there are cores for them.

Here it is measured. The server, the client and all workers share this machine, so the curve bends where its cores are
used up, and not where the server is. Past that it is simulated (`benchmarks.simulate`) out of the CPU per run that was
measured, with four clients; held against what was measured for as many cores as there are here. What the server spends
its time on is in the same report (`benchmarks.spent`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bell import Bell
from benchmarks.drivers import throughput, warm_up
from benchmarks.peers.ours import Ours
from benchmarks.report import FOLDER, machine
from benchmarks.servers import client_of
from benchmarks.simulate import Setting, limit, rate
from benchmarks.spent import spent
from benchmarks.stats import median_by_role, short
from benchmarks.systems import Options
from benchmarks.tables import table

HERE = (1, 2, 3, 4)
THERE = (1, 2, 3, 4, 6, 8, 12, 16)
IN_FLIGHT = 1_000
CLIENTS = 4
CASES = {"noop": "noop", "steps10": "steps10", "call_child": "parent"}


async def measure(case: str, workers: int, n: int, *, is_undisturbed: bool = False) -> dict[str, Any]:
    """Rate and CPU with so many worker processes; and what the server did.

    The server times its commands by the clock: other processes that get its core in the midst of one would count.
    `is_undisturbed` gives it precedence, where that is allowed, which makes the rate no rate to be compared.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bell = Bell(Path(folder, "bell"))
        bell.open()
        system = Ours(Options(), bell, workers)
        try:
            await system.start(Path(folder))
            if is_undisturbed:
                with suppress(PermissionError):
                    os.setpriority(os.PRIO_PROCESS, system.server.pid, -20)
            drive = throughput(CASES[case])
            await drive(system, n // 5, IN_FLIGHT)
            with client_of(system.server) as client:
                client.config_resetstat()
                found = await drive(system, n, IN_FLIGHT)
                stats = client.info("commandstats")
            # What the driver warms up with, the server has counted as well.
            counted = n + warm_up(n)
            return {**found, "spent": asdict(spent(stats, found["cpu_us"]["server"], counted))}
        finally:
            await system.stop()
            bell.close()


def simulated(cpu: dict[str, float], workers: int, cores: int, clients: int) -> Setting:
    """A machine of so many cores, on which a run takes as much CPU as here."""
    return Setting(
        server_us=cpu["server"], worker_us=cpu["worker"], client_us=cpu["client"],
        workers=workers, cores=cores, clients=clients, in_flight=IN_FLIGHT,
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `scaling` takes."""
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--case", choices=CASES, default="noop")
    parser.add_argument("-n", type=int, default=6_000, help="runs of one measurement")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder for the files")


def run(options: argparse.Namespace) -> int:
    """Measures in turns, simulates, writes."""
    samples: dict[int, list[dict[str, Any]]] = {workers: [] for workers in HERE}
    for repeat in range(options.repeat):
        for workers in HERE:
            print(f"round {repeat + 1}: {workers} workers", file=sys.stderr, flush=True)
            samples[workers].append(asyncio.run(measure(options.case, workers, options.n)))
    undisturbed = asyncio.run(measure(options.case, 1, options.n, is_undisturbed=True))
    data = {**summary(options.case, samples), "server": undisturbed}
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"scaling-{options.case}"
    options.out.joinpath(f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    options.out.joinpath(f"{name}.md").write_text(markdown(data), encoding="utf-8")
    try:
        import matplotlib  # noqa: F401, ICN001 - only whether it is there
    except ImportError:
        print("no plots: matplotlib is not installed (the extra `bench`)", file=sys.stderr)
    else:
        from benchmarks.plots_growth import draw_scaling

        draw_scaling(data, options.out / name)
    print(markdown(data))
    return 0


def summary(case: str, samples: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of what was measured; what is simulated out of those of one worker."""
    cores = os.cpu_count() or 1
    here = []
    for workers, each in samples.items():
        cpu = median_by_role([sample["cpu_us"] for sample in each])
        rates = [sample["rate"] for sample in each]
        like_here = rate(simulated(cpu, workers, cores, 1))
        here.append(
            {"workers": workers, "rate": median(rates), "low": min(rates), "high": max(rates), "cpu_us": cpu,
             "simulated": round(like_here)}
        )  # fmt: skip
    cpu = here[0]["cpu_us"]
    there = []
    for workers in THERE:
        setting = simulated(cpu, workers, 32, CLIENTS)
        there.append({"workers": workers, "simulated": round(rate(setting)), "limit": round(limit(setting))})
    return {
        "case": case,
        "machine": machine(),
        "here": here,
        "there": there,
        "server_limit": round(1e6 / cpu["server"]),
        "samples": {str(workers): each for workers, each in samples.items()},
    }


def markdown(data: dict[str, Any]) -> str:
    """Tables of the curve and of what the server does."""
    cores = data["machine"]["cpus"]
    rows = [
        [str(each["workers"]), f"{short(each['rate'])} [{short(each['low'])}-{short(each['high'])}]",
         short(each["simulated"]), *(f"{each['cpu_us'][role]:.0f}" for role in ("server", "worker", "client"))]
        for each in data["here"]
    ]  # fmt: skip
    far = [[str(each["workers"]), short(each["simulated"]), short(each["limit"])] for each in data["there"]]
    return "\n".join(
        [
            f"# Worker processes: {data['case']}\n",
            f"Measured on {cores} cores, beside what the simulation says of the same. CPU is µs per run.",
            f"Load before: {data['machine']['load']}.\n",
            table(["workers", "runs/s", "simulated", "server", "worker", "client"], rows),
            f"Simulated with 32 cores and {CLIENTS} clients, out of the CPU per run of one worker. A server that does",
            f"nothing else makes {short(data['server_limit'])} runs/s. Not in it: see `benchmarks/simulate.py`.\n",
            table(["workers", "runs/s", "no more than"], far),
            "## What the server spends its time on\n",
            "µs per run, one worker; see `benchmarks/spent.py`.\n",
            server_table(data["server"]),
        ]
    )


def server_table(sample: dict[str, Any]) -> str:
    """CPU of the server, split."""
    facts = sample["spent"]
    total = sample["cpu_us"]["server"]
    rows = [["all of it", short(total), "", "100 %"]]

    def row(name: str, us: float, calls: float | None = None) -> None:
        rows.append([name, short(us), "" if calls is None else f"{calls:g}", f"{us / total:.0%}"])

    row("Lua, and the way between it and commands", facts["scripts_us"], facts["calls"].get("evalsha"))
    for name, us in facts["inside_us"].items():
        if us >= 0.05:
            row(f"`{name}` in scripts", us, facts["calls"][name])
    for name, us in facts["outside_us"].items():
        if us >= 0.05:
            row(f"`{name}`", us, facts["calls"][name])
    row("the rest: protocol, append-only file, event loop, system calls", facts["rest_us"])
    busy = "" if facts["rest_us"] > 0 else "\n**The machine was busy: the clock ran while the server did not.**\n"
    return table(["", "µs", "calls", "of it"], rows) + busy
