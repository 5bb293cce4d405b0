package state

import (
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"

	"thalweg/internal/invariant"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/internal/table"
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
	// go to the engine; 0: 10 commits, 64 MB. Negative: commits are not counted, somebody calls Checkpoint.
	CheckpointCommits int
	CheckpointBytes   int64
}

const (
	defaultCheckpointCommits = 10
	defaultCheckpointBytes   = 64 << 20
)

// Namespace is the part of the engine that belongs to a partition. Store names are unique in an application, so all
// tasks of one partition may share it: a store is found again when the topology around it changed.
func Namespace(partition int32) []byte { return layout.Namespace(partition) }

// GlobalNamespace is the part of the engine that belongs to the global stores of a process.
func GlobalNamespace() []byte { return layout.Namespace(-1) }

// Tx is a task's stores, and everything that was written to them between two commits. It belongs to the goroutine
// that runs the task.
type Tx struct {
	config    Config
	stores    []untypedStore
	byName    map[string]openStore
	listeners []*storeBase // by flush order
	seed      maphash.Seed
	views     byteArena

	commits   int // since the last checkpoint
	positions map[string]*position
	synced    int64 // of all stores, see MarkSynced; 0: each has its own
	used      int64 // estimate of the stores' memory
	pinned    int64 // of it by rows that were read ahead, roughly
	aheads    []*rowsAhead
	reported  int64 // what the budget knows of it
	stuck     int64 // what they held when nothing more could go, while that is too much
	full      bool  // a commit would help
	packed    bool  // everything is dirty: there is nothing to evict
	early     bool  // a checkpoint would make rows clean, for which others can be read ahead
	closed    bool

	loading loadMemory // of a restore

	strict      bool // see Strict
	rowBytesMax int  // see LimitRows
}

// untypedStore is an open store as its Tx sees it.
type untypedStore interface {
	storeBase() *storeBase
	caches(yield func(cache) bool)
	restore(key, value []byte, timestamp int64) error
	// begin looks at what the engine has of the store.
	begin(e engine.Engine) error
}

// openStore is an untypedStore with its typed side, which the Tx never uses.
type openStore struct {
	untypedStore
	typed any
}

// expirer is a store whose rows expire: it writes range deletes, or its newest time, and frees segments.
type expirer interface {
	endDrain()                         // at a drain
	endCommit()                        // at a commit
	rollback()                         // at a discard
	hasDeletes() bool                  // the engine has segments that expired, or an old time
	writeDeletes(b engine.Batch) error // at a checkpoint
	deletesWritten()                   // the checkpoint is written
	wiped()
}

// bufferPool is a store that keeps the memory of released segments for new ones.
type bufferPool interface {
	spareBytes() int64
	dropSpare()
}

// changelogWriter is a store that writes its changelog itself.
type changelogWriter interface {
	drainChangelog(emit func(store Store, key, value []byte, timestamp int64) error) error
	restored() error // what was restored is committed
}

// NewTx returns the transaction object of one task.
func NewTx(config Config) *Tx {
	if config.CheckpointCommits == 0 {
		config.CheckpointCommits = defaultCheckpointCommits
	}
	if config.CheckpointBytes == 0 {
		config.CheckpointBytes = defaultCheckpointBytes
	}
	if config.Budget != nil {
		config.Budget.share.Divide(1)
	}
	return &Tx{
		config: config, byName: map[string]openStore{}, positions: map[string]*position{}, seed: maphash.MakeSeed(),
	}
}

// Tx makes a Tx a Host.
func (tx *Tx) Tx(string) (*Tx, error) { return tx, nil }

// reopen returns the instance of a store that was opened before.
func reopen[S any](tx *Tx, name string) (st S, found bool, err error) {
	o, found := tx.byName[name]
	if !found {
		return st, false, nil
	}
	st, ok := o.typed.(S)
	if !ok {
		err = fmt.Errorf("store %q: opened as %v, but before as %T: a name has one pair of types", name,
			reflect.TypeFor[S](), o.typed)
	}
	return st, true, err
}

func (tx *Tx) newStoreBase(s Store) (*storeBase, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	spec := s.Spec()
	return &storeBase{
		tx: tx, store: s, made: spec, name: spec.Name, seed: tx.seed,
		prefix:     layout.Store(nil, tx.config.Namespace, spec.Name),
		persistent: tx.config.Engine != nil && !spec.InMemory,
		logged:     !spec.Volatile,
		strict:     tx.strict,
		dirtyFlags: table.DirtyCommit,
		key:        make([]byte, 0, 256), value: make([]byte, 0, 256), fetch: make([]byte, 0, 256),
	}, nil
}

// enroll adds a store that was just opened: m for the Tx, and store for callers that open it again.
func (tx *Tx) enroll(m untypedStore, store any) error {
	r := m.storeBase()
	if tx.closed {
		return fmt.Errorf("store %q: open: the task's stores are closed", r.name)
	}
	p := &position{}
	if r.persistent {
		if err := p.load(tx.config.Engine, r); err != nil {
			return err
		}
		if err := m.begin(tx.config.Engine); err != nil {
			return fmt.Errorf("store %q: open: %w", r.name, err)
		}
	}
	tx.positions[r.name] = p
	tx.stores = append(tx.stores, m)
	tx.byName[r.name] = openStore{m, store}
	return nil
}

func emptyRange(e engine.Engine, prefix []byte) (bool, error) {
	return emptyBetween(e, prefix, layout.After(prefix))
}

func (tx *Tx) listen(r *storeBase, flushOrder int) {
	r.flushOrder = flushOrder
	r.dirtyFlags |= table.DirtyFlush
	if !slices.Contains(tx.listeners, r) {
		tx.listeners = append(tx.listeners, r)
	}
	slices.SortStableFunc(tx.listeners, func(a, b *storeBase) int { return a.flushOrder - b.flushOrder })
}

// Unlisten takes all flush listeners away; stores and data stay. Nothing may wait for a flush.
func (tx *Tx) Unlisten() {
	for _, r := range tx.listeners {
		r.dirtyFlags &^= table.DirtyFlush
		r.prefetchers = nil
	}
	tx.listeners = nil
}

// Flush calls the flush listeners store by store, by ascending flush order, again and again while a flush changed
// something.
func (tx *Tx) Flush() error {
	for again := true; again; {
		again = false
		for _, r := range tx.listeners {
			some, err := r.flush()
			if err != nil {
				return err
			}
			again = again || some
		}
	}
	return nil
}

// Drain hands out the changelog records of the commit: once per key changed since the last Drain. A nil value is a
// tombstone. The slices are valid during the call. What changes after Drain belongs to the next commit.
//
// After an error only Discard helps.
func (tx *Tx) Drain(emit func(store Store, key, value []byte, timestamp int64) error) error {
	for _, m := range tx.stores {
		for t := range m.caches {
			if err := t.drain(emit); err != nil {
				return err
			}
		}
		if d, ok := m.(changelogWriter); ok && m.storeBase().logged {
			if err := d.drainChangelog(emit); err != nil {
				return err
			}
		}
		if p, ok := m.(expirer); ok {
			p.endDrain()
		}
	}
	return nil
}

// Commit says that what was drained is committed; position gives the next offset of a store's changelog, or a
// negative number where it did not move. Every few commits the changes go to the engine, together with the positions.
func (tx *Tx) Commit(position func(store string) int64) error {
	for _, m := range tx.stores {
		for t := range m.caches {
			t.commit()
		}
		if p, ok := m.(expirer); ok {
			p.endCommit()
		}
	}
	tx.move(position)
	tx.commits++
	tx.measure()
	due := tx.config.CheckpointCommits > 0 && tx.commits >= tx.config.CheckpointCommits
	if due || tx.early || tx.waitingBytes() >= tx.config.CheckpointBytes || tx.over() {
		if err := tx.Checkpoint(); err != nil {
			return err
		}
	}
	return tx.shrink()
}

func (tx *Tx) move(next func(store string) int64) {
	if next == nil {
		return
	}
	for _, m := range tx.stores {
		r := m.storeBase()
		if offset := next(r.name); offset >= 0 {
			p := tx.positions[r.name]
			invariant.Check(!p.known || offset >= p.offset, "store %q: its position goes back", r.name)
			p.moveTo(offset)
		}
	}
}

// Failed is the failure of the engine; nil: it works. A processor may have ignored an error of its store, so this is
// asked before anything is committed.
func (tx *Tx) Failed() error {
	if tx.config.Engine == nil {
		return nil
	}
	return tx.config.Engine.Failed()
}

// Discard goes back to the last commit.
func (tx *Tx) Discard() error {
	tx.RestoreEnd()
	for _, m := range tx.stores {
		m.storeBase().dropDirtyList()
		for t := range m.caches {
			t.discard()
		}
		if p, ok := m.(expirer); ok {
			p.rollback()
		}
	}
	tx.full, tx.packed, tx.early = false, false, false
	return nil
}

// Restore applies a changelog record to a store that was opened or prepared; a nil value is a tombstone. RestoreDone
// follows. Where nothing of a store is in memory its rows gather until then and go to the engine as they are.
func (tx *Tx) Restore(store string, key, value []byte, timestamp int64) error {
	m, ok := tx.byName[store]
	if !ok {
		return fmt.Errorf("store %q: restore: it is not open", store)
	}
	if l := tx.loadOf(m.untypedStore); l != nil {
		return l.store.loadRow(l, key, value, timestamp)
	}
	return m.restore(key, value, timestamp)
}

// RestoringBytes is about the memory of what was restored since the last RestoreDone, and of what is not in the engine.
func (tx *Tx) RestoringBytes() int {
	sum := int(tx.waitingBytes())
	for _, l := range tx.loading.loads {
		sum += l.sizeBytes()
	}
	return sum
}

// RestoreDone ends a series of Restore calls: what was restored is committed up to the positions, and in the engine.
// Each store goes there with its position at once, the stores one after the other.
func (tx *Tx) RestoreDone(position func(store string) int64) error {
	for _, m := range tx.stores {
		if d, ok := m.(changelogWriter); ok {
			if err := d.restored(); err != nil {
				return err
			}
		}
	}
	tx.move(position)
	for _, l := range tx.loading.loads {
		if err := l.write(tx.config.Engine, tx.positions[l.base.name]); err != nil {
			return err
		}
	}
	if err := tx.Checkpoint(); err != nil {
		return err
	}
	tx.measure()
	return tx.shrink()
}

// RestoreGiveUp lets stores that expire by their times drop what is far behind. It is for copies that are followed and
// not opened, and comes before RestoreDone.
func (tx *Tx) RestoreGiveUp() {
	for _, m := range tx.stores {
		if c, ok := m.(interface{ giveUp() }); ok {
			c.giveUp()
		}
	}
}

// RestoreEnd gives back the memory that restoring took. What was restored since the last RestoreDone is dropped.
func (tx *Tx) RestoreEnd() { tx.loading = loadMemory{} }

// Position returns the offset of a store's changelog up to which the engine, and what is committed in memory, have the
// store; ok is false for a store that has nothing. For a store that is not open it is what the engine says.
func (tx *Tx) Position(store string) (offset int64, ok bool, err error) {
	if p, open := tx.positions[store]; open {
		return p.offset, p.known, nil
	}
	if tx.config.Engine == nil {
		return 0, false, nil
	}
	return SavedPosition(tx.config.Engine, tx.config.Namespace, store)
}

// Expiry is what a store has given up, in times of its rows: the start of a window, the end of a session, the time of a
// record in a join buffer.
type Expiry struct {
	Before  int64 // everything below, as of the last commit; 0: nothing
	Stamped int64 // so have been all changelog records with timestamps below it
	Newest  int64 // no row is newer
}

// Expiry tells what a store has given up; ok is false for a store that gives up nothing.
func (tx *Tx) Expiry(store string) (x Expiry, ok bool) {
	m, ok := tx.byName[store].untypedStore.(interface{ expiry() Expiry })
	if ok {
		x = m.expiry()
	}
	return x, ok
}

// Stores returns the open stores in the order in which they were opened.
func (tx *Tx) Stores() []Store {
	stores := make([]Store, len(tx.stores))
	for i, m := range tx.stores {
		stores[i] = m.storeBase().store
	}
	return stores
}

// Dirty tells whether something changed since the last drain.
func (tx *Tx) Dirty() bool { return tx.DirtyBytes() > 0 }

// DirtyBytes is about the size of the changes since the last drain.
func (tx *Tx) DirtyBytes() int {
	var sum int64
	for _, m := range tx.stores {
		for t := range m.caches {
			sum += t.dirtyBytes()
		}
	}
	return int(sum)
}

// Close drops what is not committed, writes what is, and gives the memory back. The engine stays open.
func (tx *Tx) Close() error {
	if tx.closed {
		return nil
	}
	err := tx.Discard()
	if err == nil && tx.Failed() == nil { // the changelogs have it
		err = tx.checkpoint(0)
	}
	tx.closed = true
	if b := tx.config.Budget; b != nil {
		b.use(-tx.reported)
		b.share.Divide(-1)
	}
	tx.stores, tx.byName, tx.listeners = nil, nil, nil
	return err
}
