// Package broker is the bundled broker: one node that speaks the Kafka protocol,
// in the process that opens it or as a server of its own.
//
// It is for programs that want a log, consumer groups and transactions without
// an installation, and it is durable: what is acknowledged with acks=all has
// reached the disk. It never replicates. A program that outgrows
// one machine runs as it is on Apache Kafka or any other broker of the protocol.
//
// Two doors lead in, and the client of an application in the same process has a third. The same checks are behind
// each:
//
//	Listener    any Kafka client, over TCP
//	Dial        a kgo.Client in this process: the same protocol over a pair of ring buffers, no port
//	direct      whole record batches straight into and out of the partition logs (package internal/direct)
//
// # How it is made
//
// Topics lie in partition logs (package log). Everything else that must survive
// is a fold over a log of its own (package coord): topics, configurations and
// blocks of producer ids over the log "__thalweg_metadata" (package meta), groups
// and their offsets over __consumer_offsets (package group), transactions over
// __transaction_state (package txn); the last two are topics that any client may
// read, in Kafka's own record formats. A fold answers a request with records and
// a reply; records are appended, replayed into the fold and durable before the
// reply leaves. Recovery is the same replay.
//
// A connection has a reader and a writer goroutine. The reader decodes requests
// in their order and starts each (a produce is appended here), the writer
// completes them in the same order (waits for the disk, for records to fetch,
// for a rebalance) and sends the answers: so requests are pipelined, effects and
// answers keep their order, and nothing is polled.
//
// # Data directory
//
//	LOCK, PID                       held while open; PID names the holder
//	__thalweg_metadata-0/           the metadata log
//	<topic>-<partition>/            one partition log each, as Kafka names them
package broker
