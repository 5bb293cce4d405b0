package state

import (
	"errors"
	"fmt"
	"time"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// Filling says what fills a store.
type Filling uint8

// What fills stores.
const (
	FromChangelog Filling = iota + 1 // its changelog has what is written to it
	FromInput                        // it is restored from the topic that its table reads, and has no changelog
	FromNothing                      // volatile: it has no changelog
	FromGlobal                       // a global store: each process fills it from its topic
	FromOther                        // an optimizer's rule keeps its rows in another store, so it has none
)

// String returns what fills the store.
func (f Filling) String() string {
	switch f {
	case FromChangelog:
		return "its changelog"
	case FromInput:
		return "the topic that it is read from"
	case FromNothing:
		return "no topic"
	case FromGlobal:
		return "its topic, in each process"
	case FromOther:
		return "no topic, since another store has its rows"
	default:
		return fmt.Sprintf("filling(%d)", uint8(f))
	}
}

// FormatVersion is the version of the rows of all kinds of stores in an engine.
const FormatVersion = 1

// Origin says what a store's saved position is a position of, and what its rows are. It lies beside the position in the
// engine and is written in the same batch.
type Origin struct {
	Kind        Kind
	Format      uint8 // of the rows: FormatVersion
	Formats     Formats
	Filling     Filling
	Topic       string   // that the position counts in; empty: there is none
	TopicID     [16]byte // zero: not known
	Cluster     string   // id of the cluster that has the topic; empty: not known
	Application string
}

// Saved is what an engine says of a store.
type Saved struct {
	Offset int64 // of the topic, up to which the rows are there
	Known  bool  // there is an offset
	Origin Origin
	Named  bool // there is an origin: a directory of an older build has none
	Rows   bool // there are rows
	// Synced is when the store last had all that its topic had, or, while its first restore has not ended, when that
	// began. What the topic had before then and has deleted since does not matter to the rows. Zero: not known.
	Synced time.Time
}

// ReadSaved returns what an engine has of a store in a namespace.
func ReadSaved(e engine.Reader, namespace []byte, store string) (s Saved, err error) {
	prefix := layout.Store(nil, namespace, store)
	p, err := readPosition(e, prefix)
	if err == nil {
		var empty bool
		empty, err = emptyBetween(e, append(prefix, layout.KindKey), layout.StoreEnd(nil, prefix))
		s.Rows = !empty
	}
	if err != nil {
		return Saved{}, fmt.Errorf("store %q: position: %w", store, err)
	}
	s.Offset, s.Known, s.Origin, s.Named = p.offset, p.known, p.origin, p.named
	if p.synced != 0 {
		s.Synced = time.UnixMilli(p.synced)
	}
	return s, nil
}

// SavedPosition returns the offset of a store's changelog up to which an engine has the store in a namespace.
func SavedPosition(e engine.Reader, namespace []byte, store string) (offset int64, ok bool, err error) {
	p, err := readPosition(e, layout.Store(nil, namespace, store))
	if err != nil {
		return 0, false, fmt.Errorf("store %q: position: %w", store, err)
	}
	return p.offset, p.known, nil
}

// MarkSaved writes when a store that an engine has in a namespace was last synced (see Saved). No Tx has it open.
func MarkSaved(e engine.Engine, namespace []byte, store string, synced time.Time) error {
	prefix := layout.Store(nil, namespace, store)
	p, err := readPosition(e, prefix)
	if err != nil {
		return fmt.Errorf("store %q: position: %w", store, err)
	}
	p.synced = synced.UnixMilli()
	b := e.NewBatch(0)
	defer b.Close() //nolint:errcheck // after Commit it does nothing
	err = b.Set(append(prefix, layout.KindPosition), p.appendRow(nil))
	if err == nil {
		err = b.Commit()
	}
	return failed(store, "mark", err)
}

// EraseSaved drops what an engine has of a store in a namespace, which no Tx has open.
func EraseSaved(e engine.Engine, namespace []byte, store string) error {
	prefix := layout.Store(nil, namespace, store)
	b := e.NewBatch(0)
	defer b.Close() //nolint:errcheck // after Commit it does nothing
	err := b.DeleteRange(prefix, layout.StoreEnd(nil, prefix))
	if err == nil {
		err = b.Commit()
	}
	return failed(store, "wipe", err)
}

// readPosition reads the position row. A row of a store without positions has the offset -1.
func readPosition(e engine.Reader, prefix []byte) (position, error) {
	value, found, err := e.Get(nil, append(append([]byte(nil), prefix...), layout.KindPosition))
	if err != nil || !found {
		return position{}, err
	}
	row, err := layout.ReadPositionRow(value)
	if err != nil {
		return position{}, err
	}
	p := position{synced: row.Synced, syncedSaved: row.Synced}
	if row.Offset >= 0 {
		p.offset, p.known, p.saved = row.Offset, true, true
	}
	if row.Origin != nil {
		p.origin, p.named, p.saved = originOf(row.Origin), true, true
	}
	return p, nil
}

func emptyBetween(e engine.Reader, lower, upper []byte) (bool, error) {
	it, err := e.Iterate(lower, upper)
	if err != nil {
		return false, err
	}
	empty := !it.First()
	return empty, errors.Join(it.Error(), it.Close())
}

func originOf(o *layout.Origin) Origin {
	return Origin{
		Kind: Kind(o.Kind), Format: o.Format, Formats: Formats{o.Keys, o.Values}, Filling: Filling(o.Filling),
		Topic: o.Topic, TopicID: o.TopicID, Cluster: o.Cluster, Application: o.Application,
	}
}

func (o Origin) row() *layout.Origin {
	return &layout.Origin{
		Kind: uint8(o.Kind), Format: o.Format, Keys: o.Formats.Keys, Values: o.Formats.Values, Filling: uint8(o.Filling),
		Topic: o.Topic, TopicID: o.TopicID, Cluster: o.Cluster, Application: o.Application,
	}
}

// hasOffsets tells whether stores that are filled so have a position of their own.
func (f Filling) hasOffsets() bool { return f == FromChangelog || f == FromInput }

// SetOrigin says what the store's positions count in from now on. The next checkpoint writes it beside the position.
// The store is open.
func (tx *Tx) SetOrigin(store string, origin Origin) error {
	p, ok := tx.positions[store]
	if !ok {
		return fmt.Errorf("store %q: origin: it is not open", store)
	}
	if !p.named || p.origin != origin {
		p.origin, p.named, p.saved = origin, true, false
	}
	return nil
}

// MarkSynced says that all stores had, at this time, all that their topics had. The next checkpoint that writes a
// position writes the time beside it, one at least every syncedEvery writes it alone, and so does Close.
func (tx *Tx) MarkSynced(at time.Time) { tx.synced = at.UnixMilli() }

// MarkStoreSynced is MarkSynced for one store, which is open, while the others are restored.
func (tx *Tx) MarkStoreSynced(store string, at time.Time) {
	if p := tx.positions[store]; p != nil {
		p.synced = at.UnixMilli()
	}
}

// syncedEvery is how much older the time in the engine may be than the one in memory.
const syncedEvery = 10 * time.Minute

// position is the changelog offset up to which a store is committed.
type position struct {
	offset int64
	known  bool
	saved  bool // the engine has it, and the origin
	origin Origin
	named  bool // there is an origin

	synced, syncedSaved int64 // milliseconds, see Saved; what the engine has of it
}

// waits tells that a checkpoint has to write the position row.
func (p *position) waits() bool {
	return !p.saved && (p.known || p.named && !p.origin.Filling.hasOffsets())
}

// age takes a new time, and has it written where the one in the engine is that much older, or newer: clocks are set.
func (p *position) age(synced int64, every time.Duration) {
	if synced != 0 {
		p.synced = synced
	}
	if d := time.Duration(p.synced-p.syncedSaved) * time.Millisecond; d != 0 && d.Abs() >= every {
		p.saved = false
	}
}

// wrote is called when the row is in the engine.
func (p *position) wrote() { p.saved, p.syncedSaved = true, p.synced }

// moveTo takes a new offset.
func (p *position) moveTo(offset int64) {
	if !p.known || p.offset != offset {
		p.offset, p.known, p.saved = offset, true, false
	}
}

// forget is for a store that was wiped.
func (p *position) forget() {
	p.offset, p.known, p.saved, p.synced, p.syncedSaved = 0, false, false, 0, 0
}

// appendRow appends the value of the position row.
func (p *position) appendRow(dst []byte) []byte {
	row := layout.PositionRow{Offset: p.offset, Synced: p.synced}
	if !p.known {
		row.Offset = -1
	}
	if p.named {
		row.Origin = p.origin.row()
	}
	return layout.AppendPositionRow(dst, row)
}

// load reads the position of a store that is opened. Rows of another kind can't be read.
func (p *position) load(e engine.Engine, r *storeBase) (err error) {
	if *p, err = readPosition(e, r.prefix); err != nil {
		return fmt.Errorf("store %q: position: %w", r.name, err)
	}
	if p.named && (p.origin.Kind != r.made.Kind || p.origin.Format != FormatVersion) {
		return fmt.Errorf("store %q: open: the engine has it as a %s store (rows of version %d), the program as a %s store "+
			"(version %d): give the store another name, under which it starts empty, or wipe it", r.name, p.origin.Kind,
			p.origin.Format, r.made.Kind, FormatVersion)
	}
	if now := FormatsOf(r.store); p.named && now.Reading(p.origin.Formats) == serde.Unreadable {
		return fmt.Errorf("store %q: open: the engine has %s, the program %s: give the store another name, under which it "+
			"starts empty, or wipe it", r.name, p.origin.Formats, now)
	}
	return nil
}
