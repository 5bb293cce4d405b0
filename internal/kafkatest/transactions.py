"""Consume, transform, produce with librdkafka's client, one transaction in four aborted: nothing lost, nothing twice.

    transactions.py HOST:PORT
"""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

RECORDS = 20_000
brokers = {"bootstrap.servers": sys.argv[1]}
name = f"python-{time.time_ns()}"
source, target = name + "-in", name + "-out"


def consumer(group):
    return Consumer(brokers | {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                               "isolation.level": "read_committed"})


def committed(c):
    return [TopicPartition(p.topic, p.partition, max(p.offset, 0)) for p in c.committed(c.assignment(), 10)]


admin = AdminClient(brokers)
for made in admin.create_topics([NewTopic(source, 3, 1), NewTopic(target, 3, 1)]).values():
    made.result()
feeder = Producer(brokers | {"enable.idempotence": True, "compression.type": "zstd", "linger.ms": 5})
for i in range(RECORDS):
    feeder.produce(source, key=str(i % 100), value=f"v{i}")
    feeder.poll(0)
assert feeder.flush(30) == 0, "records were not acknowledged"

worker = consumer(name)
worker.subscribe([source])
out = Producer(brokers | {"transactional.id": name})
out.init_transactions()
done = rounds = 0
while done < RECORDS:
    batch = worker.consume(1000, 2.0)
    if not batch:
        continue
    rounds += 1
    out.begin_transaction()
    for m in batch:
        assert m.error() is None, m.error()
        out.produce(target, key=m.key(), value=m.value())
    if rounds % 4 == 0:
        out.abort_transaction()
        for position in committed(worker):
            worker.seek(position)
    else:
        out.send_offsets_to_transaction(worker.position(worker.assignment()), worker.consumer_group_metadata())
        out.commit_transaction()
    done = sum(p.offset for p in committed(worker))
worker.close()

reader = consumer(name + "-check")
reader.subscribe([target])
seen, quiet = [], 0
while quiet < 3:
    batch = reader.consume(5000, 1.0)
    quiet = 0 if batch else quiet + 1
    seen += [m.value() for m in batch if m.error() is None]
reader.close()
if len(seen) != RECORDS or len(set(seen)) != RECORDS:
    sys.exit(f"DIFFERENT: {len(seen)} records, {len(set(seen))} of them distinct, want {RECORDS}")
print(f"equal: {RECORDS} records in {rounds} transactions of librdkafka, every fourth aborted")
