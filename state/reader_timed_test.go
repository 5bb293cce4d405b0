package state

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTimedReadersSeeWhatTheStoresSay compares the readers with the stores: keys of all lengths, of which some begin as
// others do, in two partitions, over many segments.
func TestTimedReadersSeeWhatTheStoresSay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	e := pebbleEngine(t)
	keys := []string{"", "a", "aa", "aaa", "b", "a\x00\x00\x00\x00\x00\x00\x00\x00", "\xff\xff"}
	windows := NewWindowed[string, string]("windows").Retain(40 * time.Second).Size(time.Second)
	sessions := NewSession[string, string]("sessions").Retain(40 * time.Second)
	var ws []*WindowStore[string, string]
	var ss []*SessionStore[string, string]
	for p := range int32(2) {
		tx := NewTx(Config{Engine: e, Namespace: Namespace(p), CheckpointCommits: 1})
		w, err := windows.Open(tx)
		require.NoError(t, err)
		s, err := sessions.Open(tx)
		require.NoError(t, err)
		ws, ss = append(ws, w), append(ss, s)
		for i := range 300 {
			key := keys[rnd.IntN(len(keys))]
			start, end := rnd.Int64N(60_000), int64(0)
			end = start + rnd.Int64N(5000)
			require.NoError(t, w.Put(key, start, fmt.Sprint("w", i), start))
			require.NoError(t, s.Put(key, start, end, fmt.Sprint("s", i)))
		}
		require.NoError(t, tx.Drain(drainNothing))
		require.NoError(t, tx.Commit(func(string) int64 { return 5 }))
		defer func() { require.NoError(t, tx.Close()) }()
	}
	snapshot, err := e.Snapshot()
	require.NoError(t, err)
	defer func() { require.NoError(t, snapshot.Close()) }()
	reader := NewReader(snapshot, Namespace(0), Namespace(1), Namespace(2))
	wr, sr := windows.Read(reader), sessions.Read(reader)

	for range 50 {
		from := rnd.Int64N(70_000) - 1000
		to := from + rnd.Int64N(30_000) - 100
		var wantW, gotW []WindowEntry[string, string]
		var wantS, gotS []SessionEntry[string, string]
		for p := range 2 {
			for e, err := range ws[p].All(from, to) {
				require.NoError(t, err)
				wantW = append(wantW, e)
			}
			for e, err := range ss[p].All(from, to) {
				require.NoError(t, err)
				wantS = append(wantS, e)
			}
		}
		for e, err := range wr.All(from, to) {
			require.NoError(t, err)
			gotW = append(gotW, e)
		}
		for e, err := range sr.All(from, to) {
			require.NoError(t, err)
			gotS = append(gotS, e)
		}
		require.ElementsMatch(t, wantW, gotW)
		require.ElementsMatch(t, wantS, gotS)

		key := keys[rnd.IntN(len(keys))]
		of := slices.DeleteFunc(slices.Clone(wantW), func(e WindowEntry[string, string]) bool { return e.Key != key })
		gotW = nil
		for e, err := range wr.Fetch(key, from, to) {
			require.NoError(t, err)
			gotW = append(gotW, e)
		}
		require.ElementsMatch(t, of, gotW)
		ofS := slices.DeleteFunc(slices.Clone(wantS), func(e SessionEntry[string, string]) bool { return e.Key != key })
		gotS = nil
		for e, err := range sr.Fetch(key, from, to) {
			require.NoError(t, err)
			gotS = append(gotS, e)
		}
		require.ElementsMatch(t, ofS, gotS)
		for _, e := range of[:min(len(of), 3)] {
			_, ts, ok, err := wr.Get(e.Key, e.Start)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, e.Timestamp, ts)
		}
		for _, e := range ofS[:min(len(ofS), 3)] {
			_, ok, err := sr.Get(e.Key, e.Start, e.End)
			require.NoError(t, err)
			require.True(t, ok)
		}
	}
	_, _, ok, err := wr.Get("nobody", 7)
	require.NoError(t, err)
	require.False(t, ok)
	for range wr.All(0, 100_000) {
		break // an early end is fine
	}
}

// A reader that lacks partitions never says that there is nothing.
func TestTimedReaderOfAPart(t *testing.T) {
	e := pebbleEngine(t)
	windows := NewWindowed[string, string]("windows").Retain(9 * time.Second).Size(time.Second)
	sessions := NewSession[string, string]("sessions").Retain(9 * time.Second)
	part := NewReader(e, Namespace(0)).Lacking(io.ErrNoProgress)
	_, _, ok, err := windows.Read(part).Get("a", 0)
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.False(t, ok)
	_, ok, err = sessions.Read(part).Get("a", 0, 0)
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.False(t, ok)
	for _, err := range windows.Read(part).All(0, 10) {
		require.ErrorIs(t, err, io.ErrNoProgress)
	}
	for _, err := range sessions.Read(part).Fetch("a", 0, 10) {
		require.ErrorIs(t, err, io.ErrNoProgress)
	}
}
