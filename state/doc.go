// Package state holds the stores of stream processing tasks: typed names for them, and one transaction object per task.
//
// # Names
//
// KV, Windowed, Session, Versioned and Buffer are small values that name a store and know its types and serdes. The
// same value builds a topology, opens the store in a task, and reads it in a query.
//
// # The transaction
//
// A Tx is everything that a task's stores hold between two commits: cache, changelog batch, rollback and atomic unit in
// one (and so Kafka's layers of metered, caching, logging and transactional stores have no counterpart here). A task
//
//	processes records    typed reads and writes, in memory
//	Flush                emit on commit: each key that changed, once, in the order of its last change
//	Drain                changelog records: each key that changed, once
//	Commit or Discard    what was drained is the state to go back to, or never was
//	Checkpoint           every few commits: what is committed goes to the engine, with the changelog positions
//
// The changelog is the write-ahead log of the engine: after a crash the engine holds a prefix of the checkpoints, and
// the changelog from the position that lies beside it gives the rest. Nothing uncommitted ever reaches the engine.
//
// # Inside
//
//	names             name_kv.go … name_buffer.go, spec.go: what a store is called and how it is kept
//	stores            kv.go window.go session.go versioned.go buffer.go
//	*_rows.go         what they do with bytes: everything but encoding and decoding
//	typed_cache.go    typed values over a row cache; key codecs
//	row_cache*.go     a write-back cache over a range of the engine: lists of what changed, images of what was
//	values*.go        value storage: inline in the entry, or encoded in an arena with some decoded objects beside it
//	segmented_*.go    segments of time that expire whole: of tables (windows, sessions) and of logs (join buffers)
//	buffer_*.go       the rows of a join buffer by key; cold rows, which memory has no room for
//	prefetch*.go      rows that are read before their look-ups come, in the order of their keys
//	store_base.go     what the caches of one store share, and the order in which it emits
//	tx*.go            the transaction; budget.go and tx_memory.go: how much memory it may use
//
// The types of keys and values go no further than the stores and typed_cache.go: each type that a program names costs
// the compiler a copy of what knows it, also of methods that nobody calls. What makes closures is not inlined, or each
// caller would have its own copies, for each type.
//
// Non-obvious:
//
//   - A store that is complete (everything that the engine has of it is in memory) answers a miss without the engine.
//     A new store is complete, a restored one too, until an entry is evicted.
//   - A value with pointers that was handed out may be changed in place by an aggregator. So the state to go back to is
//     kept as bytes, never as an object, and Discard forgets all objects.
//   - What changes between Drain and Commit belongs to the next commit; a Discard then takes back both.
//   - Refs and views are good until the next call on the store. Views of long keys and of values are good forever:
//     their memory is never used again.
package state
