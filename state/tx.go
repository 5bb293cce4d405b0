package state

import (
	"thalweg/state/engine"
)

// Config says where a Tx keeps its data and how much memory it may use.
type Config struct {
	// Engine holds what was checkpointed; nil: all stores live in memory.
	Engine engine.Engine
	// Namespace begins every key of the task in the engine: Namespace(partition). No task's may be the prefix of
	// another's.
	Namespace []byte
	// CacheBytesMax is the memory that the task's stores may use before they evict; 0: what Budget allows.
	CacheBytesMax int64
	// Budget is the memory shared by all tasks of the process; nil: no limit but CacheBytesMax.
	Budget *Budget
	// CheckpointCommits and CheckpointBytes say after how many commits, or bytes of committed changes, the changes
	// go to the engine; 0: 10 commits, 64 MB.
	CheckpointCommits int
	CheckpointBytes   int64
}

// Tx is a task's stores, and everything that was written to them between two commits. It belongs to the goroutine
// that runs the task.
type Tx struct{ config Config }

// NewTx returns the transaction object of one task.
func NewTx(config Config) *Tx { return &Tx{config: config} }

// Tx makes a Tx a Host.
func (tx *Tx) Tx(string) (*Tx, error) { return tx, nil }

// Flush calls the flush listeners store by store, by ascending rank, again and again while a flush changed something.
func (tx *Tx) Flush() error { return errUnbuilt }

// Drain hands out the changelog records of the commit: once per key changed since the last Drain. A nil value is a
// tombstone. The slices are valid during the call. What changes after Drain belongs to the next commit.
func (tx *Tx) Drain(emit func(store Store, key, value []byte, timestamp int64) error) error {
	return errUnbuilt
}

// Commit says that what was drained is committed; position gives the next offset of a store's changelog, or a
// negative number where it did not move. Every few commits the changes go to the engine, together with the positions.
func (tx *Tx) Commit(position func(store string) int64) error { return errUnbuilt }

// Checkpoint writes everything that is committed to the engine now.
func (tx *Tx) Checkpoint() error { return errUnbuilt }

// Discard goes back to the last commit.
func (tx *Tx) Discard() error { return errUnbuilt }

// Restore applies a changelog record to a store that was opened or prepared; a nil value is a tombstone. RestoreDone
// or Commit follows.
func (tx *Tx) Restore(store string, key, value []byte, timestamp int64) error { return errUnbuilt }

// RestoreDone ends a stretch of Restore calls: what was restored is committed up to the positions.
func (tx *Tx) RestoreDone(position func(store string) int64) error { return errUnbuilt }

// Position returns the offset of a store's changelog up to which the engine holds the store.
func (tx *Tx) Position(store string) (offset int64, ok bool, err error) { return 0, false, errUnbuilt }

// Stores returns the open stores in the order in which they were opened.
func (tx *Tx) Stores() []Store { return nil }

// Dirty tells whether something changed since the last commit.
func (tx *Tx) Dirty() bool { return false }

// DirtyBytes is about the size of the changes since the last commit.
func (tx *Tx) DirtyBytes() int { return 0 }

// CacheFull asks for an early commit: changes that are not yet committed fill the memory.
func (tx *Tx) CacheFull() bool { return false }

// Wipe empties a store, in memory and in the engine, and forgets its position.
func (tx *Tx) Wipe(store string) error { return errUnbuilt }

// Close drops what is not committed, writes what is, and gives the memory back. The engine stays open.
func (tx *Tx) Close() error { return errUnbuilt }
