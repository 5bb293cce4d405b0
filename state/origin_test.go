package state

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
	"thalweg/state/memory"
)

var someOrigin = Origin{
	Kind: KindKeyValue, Format: FormatVersion, Filling: FromChangelog,
	Topic: "a-rows-changelog", TopicID: [16]byte{7}, Cluster: "c", Application: "a",
	Formats: Formats{Keys: "string", Values: "string"},
}

var start = time.UnixMilli(1_700_000_000_000)

func openRows(t *testing.T, e engine.Engine) (*Tx, *KVStore[string, string]) {
	t.Helper()
	tx := NewTx(Config{Engine: e, Namespace: Namespace(1), CheckpointCommits: 1})
	rows, err := NewKV[string, string]("rows").Open(tx)
	require.NoError(t, err)
	return tx, rows
}

func commitTo(t *testing.T, tx *Tx, offset int64) {
	t.Helper()
	require.NoError(t, tx.Drain(drainNothing))
	require.NoError(t, tx.Commit(func(string) int64 { return offset }))
}

func TestOriginLiesBesideThePosition(t *testing.T) {
	e := memory.New()
	saved := func() Saved {
		s, err := ReadSaved(e, Namespace(1), "rows")
		require.NoError(t, err)
		return s
	}
	require.Equal(t, Saved{}, saved())
	tx, rows := openRows(t, e)
	require.NoError(t, rows.Put("k", "v", 1))
	commitTo(t, tx, 5) // as an older build writes it
	require.Equal(t, Saved{Offset: 5, Known: true, Rows: true}, saved())

	require.NoError(t, tx.SetOrigin("rows", someOrigin))
	require.NoError(t, tx.Checkpoint()) // though nothing else has changed
	require.Equal(t, Saved{Offset: 5, Known: true, Named: true, Origin: someOrigin, Rows: true}, saved())
	require.NoError(t, tx.Close())

	tx, rows = openRows(t, e)
	require.NoError(t, rows.Put("k", "w", 2))
	commitTo(t, tx, 9)
	require.Equal(t, Saved{Offset: 9, Known: true, Named: true, Origin: someOrigin, Rows: true}, saved())
	require.NoError(t, tx.Wipe("rows"))
	require.Equal(t, Saved{}, saved())
	require.NoError(t, tx.RestoreDone(func(string) int64 { return 3 }))
	require.NoError(t, tx.Checkpoint())
	require.Equal(t, Saved{Offset: 3, Known: true, Named: true, Origin: someOrigin}, saved())
	require.NoError(t, tx.Close())
	require.NoError(t, EraseSaved(e, Namespace(1), "rows"))
	require.Equal(t, Saved{}, saved())
	require.ErrorContains(t, tx.SetOrigin("other", someOrigin), "not open")
}

// A store without a changelog has an origin and no position.
func TestOriginWithoutAPosition(t *testing.T) {
	e := memory.New()
	tx, _ := openRows(t, e)
	volatileOrigin := Origin{Kind: KindKeyValue, Format: FormatVersion, Filling: FromNothing, Application: "a"}
	require.NoError(t, tx.SetOrigin("rows", volatileOrigin))
	require.NoError(t, tx.Close())
	s, err := ReadSaved(e, Namespace(1), "rows")
	require.NoError(t, err)
	require.Equal(t, Saved{Named: true, Origin: volatileOrigin}, s)
	_, ok, err := SavedPosition(e, Namespace(1), "rows")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestRowsOfAnotherKindAreNotOpened(t *testing.T) {
	e := memory.New()
	tx, rows := openRows(t, e)
	require.NoError(t, tx.SetOrigin("rows", someOrigin))
	require.NoError(t, rows.Put("k", "v", 1))
	commitTo(t, tx, 5)
	require.NoError(t, tx.Close())
	tx = NewTx(Config{Engine: e, Namespace: Namespace(1)})
	_, err := NewWindowed[string, string]("rows").Open(tx)
	require.ErrorContains(t, err, "key-value")
	require.ErrorContains(t, err, "window")
	_, err = NewKV[string, int64]("rows").Open(tx)
	require.ErrorContains(t, err, "values written as string")
	require.ErrorContains(t, err, "values written as int64")
	_, err = NewKV[string, int64]("rows").Values(anonymous{}).Open(tx)
	require.NoError(t, err, "nobody knows what it writes")
}

// anonymous is a serde whose format has no name.
type anonymous struct{ serde.Serde[int64] }

func TestFormatsOfStores(t *testing.T) {
	require.Equal(t, Formats{"string", "int64"}, FormatsOf(NewKV[string, int64]("rows")))
	require.Equal(t, Formats{"json string", ""}, FormatsOf(
		NewWindowed[string, int64]("rows").Keys(serde.JSON[string]()).Values(anonymous{})))
	require.Equal(t, Formats{}, FormatsOf(KV[string, string]{}))
	long := FormatsOf(NewKV[string, struct {
		AnUnusuallyLongNameOfAField, AnotherUnusuallyLongNameOfAField, YetAnotherUnusuallyLongNameOfAField,
		TheLastOneOfTheUnusuallyLongNamesOfFields, AndThatWasNotTheLastOneOfTheUnusuallyLongNames string
	}]("rows"))
	require.Len(t, long.Values, formatBytesMax)
}

// The row of version 1 of the layout is the offset alone.
func TestPositionsOfVersion1AreRead(t *testing.T) {
	e := memory.New()
	b := e.NewBatch(0)
	key := append(layout.Store(nil, Namespace(1), "rows"), layout.KindPosition)
	require.NoError(t, b.Set(key, []byte{0, 0, 0, 0, 0, 0, 1, 2}))
	require.NoError(t, b.Commit())
	s, err := ReadSaved(e, Namespace(1), "rows")
	require.NoError(t, err)
	require.Equal(t, Saved{Offset: 258, Known: true}, s)
}

// The time of the last sync is written with a position, by itself when the engine's is ten minutes older, and at the
// end. A store that is wiped has none, and one that is restored has that of its own.
func TestSyncedLiesBesideThePosition(t *testing.T) {
	e := memory.New()
	synced := func() time.Duration {
		s, err := ReadSaved(e, Namespace(1), "rows")
		require.NoError(t, err)
		if s.Synced.IsZero() {
			return -1
		}
		return s.Synced.Sub(start)
	}
	tx, _ := openRows(t, e)
	require.NoError(t, tx.SetOrigin("rows", someOrigin))
	tx.MarkSynced(start)
	require.NoError(t, tx.Checkpoint())
	require.EqualValues(t, -1, synced(), "there is no position yet")
	commitTo(t, tx, 5)
	require.Zero(t, synced())
	tx.MarkSynced(start.Add(time.Minute))
	require.NoError(t, tx.Checkpoint())
	require.Zero(t, synced(), "that is not worth a row")
	commitTo(t, tx, 6)
	require.Equal(t, time.Minute, synced())
	tx.MarkSynced(start.Add(11 * time.Minute))
	require.NoError(t, tx.Checkpoint())
	require.Equal(t, 11*time.Minute, synced())
	tx.MarkSynced(start) // the clock was set
	require.NoError(t, tx.Checkpoint())
	require.Zero(t, synced())
	tx.MarkSynced(start.Add(time.Second))
	require.NoError(t, tx.Close())
	require.Equal(t, time.Second, synced())

	tx, _ = openRows(t, e)
	require.NoError(t, tx.Restore("rows", []byte("k"), []byte("v"), 1))
	require.NoError(t, tx.RestoreDone(func(string) int64 { return 9 }))
	require.Equal(t, time.Second, synced(), "a restore that goes on is no younger")
	require.NoError(t, tx.Wipe("rows"))
	require.NoError(t, tx.Restore("rows", []byte("k"), []byte("v"), 1))
	require.NoError(t, tx.RestoreDone(func(string) int64 { return 2 }))
	require.EqualValues(t, -1, synced())
	require.NoError(t, tx.Wipe("rows"))
	tx.MarkStoreSynced("rows", start.Add(time.Hour))
	require.NoError(t, tx.Restore("rows", []byte("k"), []byte("v"), 1))
	require.NoError(t, tx.RestoreDone(func(string) int64 { return 2 }))
	require.Equal(t, time.Hour, synced())
	require.NoError(t, tx.Close())

	require.NoError(t, MarkSaved(e, Namespace(1), "rows", start.Add(2*time.Hour)))
	s, err := ReadSaved(e, Namespace(1), "rows")
	require.NoError(t, err)
	require.Equal(t, Saved{
		Offset: 2, Known: true, Named: true, Origin: someOrigin, Rows: true, Synced: start.Add(2 * time.Hour),
	}, s)
}
