"""Calls the gateway with grpcio's asyncio client: what differs from the synchronous one, concurrency and early ends."""

from __future__ import annotations

import asyncio

import grpc
import inference_pb2 as pb
import inference_pb2_grpc
import messages as m
import numpy as np
import report
from arrays import ODD_NAME
from grpc_health.v1 import health_pb2, health_pb2_grpc
from report import equal

Stub = inference_pb2_grpc.GRPCInferenceServiceStub


async def infer(channel: grpc.aio.Channel) -> None:
    """One row, raw and typed; every datatype."""
    m.check_row(await Stub(channel).ModelInfer(m.row_request("raw-1", 41)), "raw-1", 41)
    m.check_row(await Stub(channel).ModelInfer(m.typed_request("typed-1", 7)), "typed-1", 7)
    for message in (m.mirror_request(typed=False), m.mirror_request(typed=True), m.half_request()):
        m.check_mirror(await Stub(channel).ModelInfer(message))


async def not_found(channel: grpc.aio.Channel) -> None:
    """NOT_FOUND names the model, whatever its letters."""
    message = m.row_request("lost", 1)
    message.model_name = ODD_NAME
    await refused(grpc.StatusCode.NOT_FOUND, ODD_NAME, Stub(channel).ModelInfer(message))


async def refused(code: grpc.StatusCode, part: str, call: grpc.aio.Call) -> None:
    """The call must fail with `code` and a text that contains `part`."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        equal((code, True), (error.code(), part in error.details()))
        return
    raise AssertionError(f"answered {str(answer)[:200]}, want {code}")


async def concurrent_200(channel: grpc.aio.Channel) -> None:
    """200 calls at once on one channel, 20 of them of 256 KiB: everyone gets its own answer."""

    async def small(i: int) -> None:
        m.check_row(await Stub(channel).ModelInfer(m.row_request(f"row-{i}", 10 * i)), f"row-{i}", 10 * i)

    async def large(i: int) -> None:
        answer = await Stub(channel).ModelInfer(m.request("ramp", "START", np.array([[i]])))
        equal(True, answer.raw_output_contents[0] == (np.arange(65_536, dtype="<f4") + np.float32(i)).tobytes())

    await asyncio.gather(*(large(i) if i % 10 == 0 else small(i) for i in range(200)))


async def tensor_2mib(channel: grpc.aio.Channel) -> None:
    """2 MiB both ways, four at once."""
    message = m.request("echo", "DATA", np.arange(1 << 19).reshape(1, -1) / 3)
    for answer in await asyncio.gather(*(Stub(channel).ModelInfer(message) for _ in range(4))):
        equal(True, message.raw_input_contents[0] == answer.raw_output_contents[0])


async def stream(channel: grpc.aio.Channel) -> None:
    """Reads and writes in turn, on two streams at once."""

    async def turns(first: int) -> None:
        calls = Stub(channel).ModelStreamInfer()
        for i in range(first, first + 20):
            await calls.write(m.row_request(f"turn-{i}", i))
            m.check_row((await calls.read()).infer_response, f"turn-{i}", i)
        await calls.done_writing()
        equal((grpc.aio.EOF, grpc.StatusCode.OK), (await calls.read(), await calls.code()))

    await asyncio.gather(turns(0), turns(500))


async def health_watch(channel: grpc.aio.Channel) -> None:
    """The first state at once; then the watch stays open until it is cancelled."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    equal(health_pb2.HealthCheckResponse.SERVING, (await watch.read()).status)
    watch.cancel()
    equal(grpc.StatusCode.CANCELLED, await watch.code())


async def deadline(channel: grpc.aio.Channel) -> None:
    """DEADLINE_EXCEEDED on time, in the middle of a run."""
    async with asyncio.timeout(1.0):
        await refused(grpc.StatusCode.DEADLINE_EXCEEDED, "", Stub(channel).ModelInfer(m.slow_request(3000), timeout=0.2))


async def cancel(channel: grpc.aio.Channel) -> None:
    """100 calls cancelled at once in the middle of a run, more than a peer with bad manners may reset; others are served."""
    running = [Stub(channel).ModelInfer(m.slow_request(3000)) for _ in range(100)]
    await asyncio.sleep(0.1)
    for call in running:
        call.cancel()
    for i in range(20):
        m.check_row(await Stub(channel).ModelInfer(m.row_request("neighbour", i)), "neighbour", i)
    equal({grpc.StatusCode.CANCELLED}, {await call.code() for call in running})


async def live(channel: grpc.aio.Channel) -> None:
    """After all of it, the server answers."""
    equal(True, (await Stub(channel).ServerLive(pb.ServerLiveRequest())).live)


CHECKS = [infer, not_found, concurrent_200, tensor_2mib, stream, health_watch, deadline, cancel, live]


async def main() -> None:
    """All checks on one channel."""
    async with grpc.aio.insecure_channel(m.TARGET, [("grpc.max_receive_message_length", -1)]) as channel:
        await report.run_async(CHECKS, channel)


if __name__ == "__main__":
    asyncio.run(main())
