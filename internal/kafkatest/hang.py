"""Leave a transaction open in partition 0 of a topic, and go without a word.

    hang.py HOST:PORT TOPIC
"""

import os
import sys

from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": sys.argv[1], "transactional.id": "hang"})
producer.init_transactions(30)
producer.begin_transaction()
producer.produce(sys.argv[2], b"never committed", partition=0)
assert producer.flush(30) == 0, "the record was not acknowledged"
os._exit(0)
