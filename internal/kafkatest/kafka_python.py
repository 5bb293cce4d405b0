"""The client of Python that is made without librdkafka: the version that it infers, a group, aborted transactions.

    kafka_python.py HOST:PORT
"""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

RECORDS = 2000
PARTITIONS = 3
brokers = {"bootstrap_servers": sys.argv[1]}
name = f"kafka-python-{time.time_ns()}"
source, target = name + "-in", name + "-out"
want = {f"v{i}".encode() for i in range(RECORDS)}


def consumer(group):
    return KafkaConsumer(**brokers, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                         isolation_level="read_committed")


def same(what, seen):
    if len(seen) != len(want) or set(seen) != want:
        sys.exit(f"DIFFERENT: {what}: {len(seen)} records, {len(set(seen) & want)} of {len(want)} that were sent")
    print(f"equal: {what}")


def read(topic):
    reader, seen = consumer(None), []
    partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    reader.assign(partitions)
    reader.seek_to_beginning()
    ends = reader.end_offsets(partitions)
    while any(reader.position(p) < ends[p] for p in partitions):
        for records in reader.poll(500).values():
            seen += [r.value for r in records]
    reader.close()
    return seen


def copy():
    """Copies all records in transactions, one in four aborted."""
    member, producer, rounds, done = consumer(name), KafkaProducer(**brokers, transactional_id=name), 0, 0
    member.subscribe([source])
    producer.init_transactions()
    while done < RECORDS:
        batches = member.poll(2000, max_records=200)
        if not batches:
            continue
        rounds += 1
        producer.begin_transaction()
        for records in batches.values():
            for r in records:
                producer.send(target, key=r.key, value=r.value)
        if rounds % 4 == 0:
            producer.abort_transaction()
            for p in batches:
                member.seek(p, member.committed(p) or 0)
            continue
        offsets = {p: OffsetAndMetadata(member.position(p), "", -1) for p in batches}
        producer.send_offsets_to_transaction(offsets, member.group_metadata())
        producer.commit_transaction()
        done += sum(len(records) for records in batches.values())
    member.close()
    producer.close()
    return rounds


admin = KafkaAdminClient(**brokers)
admin.create_topics({source: {"num_partitions": PARTITIONS, "replication_factor": 1},
                     target: {"num_partitions": PARTITIONS, "replication_factor": 1}})
feeder = KafkaProducer(**brokers, compression_type="gzip", linger_ms=5)
version = ".".join(map(str, feeder.config["api_version"]))
if not version.startswith("4."):
    sys.exit(f"DIFFERENT: kafka-python infers version {version}")
print("equal: the version that kafka-python infers")
for i in range(RECORDS):
    feeder.send(source, key=f"{i % 100}".encode(), value=f"v{i}".encode(), headers=[("h", b"x")])
feeder.flush()
feeder.close()
same("records of kafka-python in gzip", read(source))
same(f"{copy()} transactions of kafka-python, every fourth aborted", read(target))
admin.delete_topics([source, target])
admin.close()
