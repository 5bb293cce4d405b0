// Package log is one partition's durable log: record batches v2, unchanged but for their offsets, in segment files that
// Apache Kafka's own tools can read.
//
//	<dir>/00000000000000000000.log        batches, one after the other; the name is the first offset
//	      00000000000000000000.index      sparse: int32 relative last offset of a batch | int32 its position
//	      00000000000000000000.timeindex  sparse: int64 largest timestamp so far | int32 relative offset of it
//	      00000000000000000000.txnindex   aborted transactions, see txn.go
//	      00000000000000000000.ages       when a sealed segment was first and last appended to, see ages.go
//	      00000000000000000042.producers  state of the producers as of that offset, see producer_snapshot.go
//	      checkpoint                      last synced offset, log start, clean close, ages; see checkpoint.go
//	      *.cleaned *.swap *.swaptxn      a compaction on its way, see segment_replace.go
//
// The index files of a segment are written when it is sealed, by a roll or by Close, and with each snapshot of the
// producers: Maintain takes one when much was appended since the last. What follows on the snapshot is indexed again
// after a crash. Sealed files never change: compaction writes new ones and renames them.
//
// # Durability
//
// An append is one write to the active segment. Syncing it to the disk is the Syncer's work, which all logs of a broker
// share: while one fsync is in progress further appends pile up, and the next fsync serves them all. Many logs that are
// dirty at the same time are synced by one call for the whole file system. WaitDurable waits for it. In the modes that
// promise durability the high watermark is what has been synced, so that no reader ever sees what a power cut could
// take back. An fsync that failed is never tried again: the log refuses everything until the next open, because the
// operating system may have dropped the very pages that it failed to write.
//
// After every fsync the offset that it reached goes into the checkpoint file. At open, everything above that offset is
// checked batch by batch, and cut at the first that is not whole; whatever is broken below it is damage, and an error.
// The check begins at the newest snapshot of the producers below that offset, since their state has to be made again
// from there. Before it nothing is read.
// Reads from a file verify the checksums of what they return.
//
// # Who touches what
//
// Log.mu is for appending, rolling, trimming and closing. Readers never take it: they load the offsets, which are
// atomic, look into the tail (recent appends in memory) under its own short lock, and else read a segment from the
// copy-on-write list of segments. Locks are taken in the order maintain, sync, mu, stable, then tail, index, segment.
package log
