// Package task is a sub-topology at work on one partition: a state machine without I/O. It has no goroutine, clock,
// socket or file of its own. Its caller (a worker of the runtime, the test driver) does this:
//
//	t, err := task.New(config)
//	f, err := t.NewFollower(logs)         // of t.Stores.Changelogs(): what must be read, from where, up to where
//	for !f.Done() {
//		err = f.Add(log, batches, next)   // whole batches as fetched; f.Save now and then
//	}
//	err = t.Restored(positions)           // builds the graph: processors see their stores filled
//	for {
//		err = t.Add(topic, partition, batch)   // whole batches as fetched
//		n, err := t.Step(budget, wallMillis)   // records processed, smallest timestamp first
//		send(outbox.Full())                    // early, in the open transaction
//		if timeToCommit {
//			ready, err := t.Ready()            // emit on commit, changelog records: all of it is sealed
//			send(outbox.Take())
//			commit(ready.Offsets, ready.Times) // together, or the times first; Add, Step … may go on meanwhile
//			err = t.Advance(positions)         // or t.Discard(): back to the last commit, exactly
//		}
//		if at, ok := t.Retries.Next(); ok && at <= wallMillis {
//			// … commit as above, then
//			processed, err := t.Retry(wallMillis)
//		}
//	}
//
// After an error of Add, Step, Retry, Punctuate or Ready the only legal calls are Discard, Close and the readers, and
// Advance before, where a commit is under way: its outcome does not depend on the work that failed. After
// Discard the queues are empty, and the driver fetches again from [Queues.Inputs]. After a [Blocked] the driver does so
// and carries on; any other failure of a record is the application's end.
//
// # Times
//
// The marks of the task's nodes (topology.Env) are kept in the application's progress topic, each under its name and
// the task's partition. A commit writes those that changed, with the offsets of the inputs.
//
// A committed offset carries, in base64, the highest timestamp that was processed on its partition. Version 1 ends
// after that time; it is what Kafka Streams writes too.
//
//	0  uint8   version: 1, or 2 with marks
//	1  int64   partition time, milliseconds, big-endian; -1 unknown
//	9  uint32  number of marks, then for each: uint32 length and bytes of its name, int64 time
//
// The marks are the number of the commit (under the empty name and "/times"), its offset ("/next"), and, for Kafka
// Streams, the times up to which windows were emitted as closed. A task looks at the newest commit that its inputs'
// offsets tell it of. Without "/times" an earlier build has committed it, with all of its marks beside each offset:
// they count then, and move to the progress topic with the next commit. Where Kafka Streams has gone on, none counts
// but the closed ones.
package task
