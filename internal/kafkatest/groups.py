"""The asyncio client of Python: each compression, a group whose members come and go, transactions that are aborted.

    groups.py HOST:PORT
"""

import asyncio
import collections
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
RECORDS = 1000  # of each codec
PARTITIONS = 4
brokers = {"bootstrap_servers": sys.argv[1]}
name = f"aio-{time.time_ns()}"
source, target = name + "-in", name + "-out"
want = {f"{codec}-{i}".encode() for codec in CODECS for i in range(RECORDS)}


def consumer(group, *topics):
    return AIOKafkaConsumer(*topics, **brokers, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                            isolation_level="read_committed", session_timeout_ms=6000, heartbeat_interval_ms=300)


def same(what, seen):
    if collections.Counter(seen) != collections.Counter(want):
        sys.exit(f"DIFFERENT: {what}: {len(seen)} records, {len(set(seen) & want)} of {len(want)} that were sent")
    print(f"equal: {what}")


async def produce():
    for codec in CODECS:
        async with AIOKafkaProducer(**brokers, compression_type=codec, enable_idempotence=True, linger_ms=5) as p:
            sent = [await p.send(source, key=f"{i % 100}".encode(), value=f"{codec}-{i}".encode(),
                                 headers=[("codec", str(codec).encode())]) for i in range(RECORDS)]
            await asyncio.gather(*sent)


async def member(group, until, seen):
    """Reads until it is told to leave. What could not be committed belongs to somebody else and is forgotten."""
    async with consumer(group, source) as c:
        while not until():
            batches = await c.getmany(timeout_ms=100, max_records=200)
            if not batches:
                continue
            try:
                await c.commit()
            except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError):
                continue
            for records in batches.values():
                seen += [r.value for r in records if dict(r.headers)["codec"] == r.value.split(b"-")[0]]
            await asyncio.sleep(0.02)


async def group():
    """Two members begin, one leaves, another comes: all of them together read each record once."""
    seen = []
    done = lambda share: lambda: len(seen) >= share * len(want)
    first = [asyncio.create_task(member(name, done(0.3), seen)), asyncio.create_task(member(name, done(1), seen))]
    await first[0]
    await asyncio.gather(first[1], member(name, done(1), seen))
    return seen


async def transactions():
    """Copies all records, one transaction in four aborted."""
    group, rounds, done = name + "-copy", 0, 0
    async with consumer(group, source) as c, AIOKafkaProducer(**brokers, transactional_id=name) as p:
        while done < len(want):
            batches = await c.getmany(timeout_ms=2000, max_records=500)
            if not batches:
                continue
            rounds += 1
            await p.begin_transaction()
            for records in batches.values():
                for r in records:
                    await p.send(target, key=r.key, value=r.value)
            if rounds % 4 == 0:
                await p.abort_transaction()
                for at in batches:
                    c.seek(at, await c.committed(at) or 0)
                continue
            await p.send_offsets_to_transaction({at: await c.position(at) for at in batches}, group)
            await p.commit_transaction()
            done += sum(len(records) for records in batches.values())
    return rounds


async def read(topic):
    seen = []
    async with consumer(None) as c:
        c.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
        await c.seek_to_beginning()
        ends = await c.end_offsets(c.assignment())
        while any([await c.position(at) < end for at, end in ends.items()]):
            for records in (await c.getmany(timeout_ms=500)).values():
                seen += [r.value for r in records]
    return seen


async def main():
    admin = AIOKafkaAdminClient(**brokers)
    await admin.start()
    await admin.create_topics([NewTopic(source, PARTITIONS, 1), NewTopic(target, PARTITIONS, 1)])
    await admin.close()
    await produce()
    same("five compressions of aiokafka", await read(source))
    same("a group of aiokafka with members that come and go", await group())
    rounds = await transactions()
    same(f"{rounds} transactions of aiokafka, every fourth aborted", await read(target))


asyncio.run(asyncio.wait_for(main(), 100))
