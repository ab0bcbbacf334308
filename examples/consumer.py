#!/usr/bin/env python3
"""Follows Keyledger's log over NATS JetStream, with nothing of Keyledger's own: nats-py and the CloudEvents SDK.

    pip install nats-py cloudevents
    python3 consumer.py nats://127.0.0.1:4222 KEYLEDGER_0 [first sequence] [how many]

A message's sequence in the stream is its event's position, so a consumer keeps one number and goes on after it. Prints a
line for each event: position, time, type, account, actor. JetStream may forget what Postgres does not: where the first
message is not the one that was asked for, read the events between from `GET /v1/events?from=`.
"""

import asyncio
import sys

import nats
from cloudevents.core.formats.json import JSONFormat
from nats.js.api import ConsumerConfig, DeliverPolicy


async def follow(server, stream, first, count):
    connection = await nats.connect(server)
    subscription = await connection.jetstream().subscribe(
        "",
        stream=stream,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first),
    )
    expected = first
    try:
        while count is None or expected < first + count:
            message = await subscription.next_msg(timeout=None)
            event = JSONFormat().read(None, message.data)
            position = event.get_extension("position")
            # One that is missing is in the log: Postgres forgets nothing.
            if position != expected or message.metadata.sequence.stream != position:
                raise SystemExit(f"position {position} came where {expected} was expected")
            print(
                position,
                event.get_time().isoformat(),
                event.get_type(),
                event.get_subject(),
                event.get_extension("actor"),
                flush=True,
            )
            expected += 1
    finally:
        await connection.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    server, stream = arguments[0], arguments[1]
    first = int(arguments[2]) if len(arguments) > 2 else 1
    count = int(arguments[3]) if len(arguments) > 3 else None
    asyncio.run(follow(server, stream, first, count))
