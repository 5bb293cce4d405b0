package log

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

func TestIdempotence(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	at := func(epoch int16, sequence int32, n int) []byte {
		return makeBatch(t, batch.Producer{ID: 9, Epoch: epoch, Sequence: sequence}, recs(n)...)
	}
	var first []Appended
	for i := range 7 { // an unknown producer may begin anywhere
		a, err := l.Append(at(2, 100+int32(2*i), 2))
		require.NoError(t, err)
		require.False(t, a.Duplicate)
		first = append(first, a)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			l = b.reopen(l)
		}
		for i := 2; i < 7; i++ {
			a, err := l.Append(at(2, 100+int32(2*i), 2))
			require.NoError(t, err)
			require.True(t, a.Duplicate)
			require.Equal(t, first[i].BaseOffset, a.BaseOffset)
			require.Equal(t, first[i].LastOffset, a.LastOffset)
		}
		_, err := l.Append(at(2, 102, 2)) // older than the last five
		isKafka(t, kerr.OutOfOrderSequenceNumber, err)
		_, err = l.Append(at(2, 115, 2))
		isKafka(t, kerr.OutOfOrderSequenceNumber, err)
		_, err = l.Append(at(2, 113, 1)) // part of a batch that is there
		isKafka(t, kerr.OutOfOrderSequenceNumber, err)
		_, err = l.Append(at(1, 114, 1))
		isKafka(t, kerr.InvalidProducerEpoch, err)
		_, err = l.Append(at(3, 114, 1))
		isKafka(t, kerr.OutOfOrderSequenceNumber, err)
	}
	end := l.End()
	a, err := l.Append(at(3, 0, 1))
	require.NoError(t, err)
	require.Equal(t, end, a.BaseOffset)
	_, err = l.Append(at(2, 112, 2)) // known, but of an older epoch
	isKafka(t, kerr.InvalidProducerEpoch, err)
	require.NoError(t, l.Close())
}

func TestSequenceWrapsInTheLog(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	at := func(sequence int32, n int) []byte {
		return makeBatch(t, batch.Producer{ID: 1, Sequence: sequence}, recs(n)...)
	}
	_, err := l.Append(at(math.MaxInt32-2, 2))
	require.NoError(t, err)
	a, err := l.Append(at(math.MaxInt32, 3)) // MaxInt32, 0, 1
	require.NoError(t, err)
	again, err := l.Append(at(math.MaxInt32, 3))
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	require.Equal(t, a.BaseOffset, again.BaseOffset)
	_, err = l.Append(at(2, 1))
	require.NoError(t, err)
	_, err = l.Append(at(math.MaxInt32-1, 1))
	isKafka(t, kerr.OutOfOrderSequenceNumber, err)
	require.NoError(t, l.Close())
}

func TestSeveralBatchesInOneAppend(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	at := func(sequence int32) []byte {
		return makeBatch(t, batch.Producer{ID: 1, Sequence: sequence}, recs(2)...)
	}
	two := slices.Concat(at(0), at(2))
	a, err := l.Append(two)
	require.NoError(t, err)
	require.Equal(t, Appended{BaseOffset: 0, LastOffset: 3, LogAppendTime: -1}, a)
	again, err := l.Append(two)
	require.NoError(t, err)
	require.Equal(t, Appended{BaseOffset: 0, LastOffset: 3, LogAppendTime: -1, Duplicate: true}, again)
	_, err = l.Append(slices.Concat(at(2), at(4)))
	isKafka(t, kerr.OutOfOrderSequenceNumber, err)
	_, err = l.Append(slices.Concat(at(4), at(8)))
	isKafka(t, kerr.OutOfOrderSequenceNumber, err)
	require.Equal(t, int64(4), l.End(), "all or none")
	_, err = l.Append(at(4))
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

func TestTransactionsMoveTheLastStableOffset(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{SegmentBytes: 700}
	l := b.open()
	sequence := map[int64]int32{}
	send := func(id int64) int64 {
		a, err := l.Append(makeBatch(t, batch.Producer{ID: id, Sequence: sequence[id], Transactional: true},
			rec{ts: 1, key: "k", value: fmt.Sprintf("p%d-%d", id, sequence[id])}))
		require.NoError(t, err)
		sequence[id]++
		return a.BaseOffset
	}
	end := func(id int64, commit bool) {
		_, err := l.AppendMarker(Marker{ProducerID: id, CoordinatorEpoch: 3, Commit: commit})
		require.NoError(t, err)
	}
	first := send(1) // 0
	send(2)          // 1
	_, err := l.Append(plain(t, recs(1)...))
	require.NoError(t, err) // 2
	require.Equal(t, first, l.LastStable())
	_, err = l.Append(makeBatch(t, batch.Producer{ID: 1, Sequence: 1}, recs(1)...))
	isKafka(t, kerr.InvalidTxnState, err)
	end(2, false) // 3
	require.Equal(t, int64(0), l.LastStable())
	require.Equal(t, []OpenTransaction{{ProducerID: 1, FirstOffset: 0}}, l.OpenTransactions())
	l = b.reopen(l)
	require.Equal(t, int64(0), l.LastStable())
	require.Equal(t, []OpenTransaction{{ProducerID: 1, FirstOffset: 0}}, l.OpenTransactions())
	end(1, true) // 4
	require.Equal(t, int64(5), l.LastStable())
	for range 20 { // over several segments
		send(1)
		send(2)
	}
	end(1, false)
	require.Greater(t, len(*l.segments.Load()), 3)
	for range 2 {
		require.Equal(t, int64(6), l.LastStable())
		r, err := l.Read(0, 1<<20, ReadCommitted)
		require.NoError(t, err)
		require.Equal(t, []Aborted{{ProducerID: 2, FirstOffset: 1, LastOffset: 3}, {ProducerID: 1, FirstOffset: 5,
			LastOffset: 45}}, r.Aborted)
		r, err = l.Read(0, 1, ReadCommitted)
		require.NoError(t, err)
		require.Empty(t, r.Aborted)
		r, err = l.Read(4, 1, ReadCommitted)
		require.NoError(t, err)
		require.Empty(t, r.Aborted)
		l = b.reopen(l)
	}
	end(2, true)
	require.Equal(t, l.End(), l.LastStable())
	// A marker of a higher epoch fences what comes late.
	_, err = l.AppendMarker(Marker{ProducerID: 2, ProducerEpoch: 1, CoordinatorEpoch: 3})
	require.NoError(t, err)
	_, err = l.Append(makeBatch(t, batch.Producer{ID: 2, Sequence: sequence[2], Transactional: true}, recs(1)...))
	isKafka(t, kerr.InvalidProducerEpoch, err)
	_, err = l.Append(makeBatch(t, batch.Producer{ID: 2, Epoch: 1, Sequence: 5, Transactional: true}, recs(1)...))
	isKafka(t, kerr.OutOfOrderSequenceNumber, err)
	_, err = l.AppendMarker(Marker{ProducerID: 2, CoordinatorEpoch: 3})
	isKafka(t, kerr.InvalidProducerEpoch, err)
	_, err = l.AppendMarker(Marker{ProducerID: 2, ProducerEpoch: 1, CoordinatorEpoch: 2})
	isKafka(t, kerr.TransactionCoordinatorFenced, err)
	require.NoError(t, l.Close())
}

func TestSilentProducersExpire(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	_, err := l.Append(makeBatch(t, batch.Producer{ID: 1}, recs(1)...))
	require.NoError(t, err)
	_, err = l.Append(makeBatch(t, batch.Producer{ID: 2, Transactional: true}, recs(1)...))
	require.NoError(t, err)
	b.pass(23 * time.Hour)
	_, err = l.Append(makeBatch(t, batch.Producer{ID: 3}, recs(1)...))
	require.NoError(t, err)
	b.pass(2 * time.Hour)
	require.NoError(t, l.Maintain())
	var ids []int64
	for _, p := range l.Producers() {
		ids = append(ids, p.ProducerID)
	}
	require.Equal(t, []int64{2, 3}, ids, "one is silent, two has a transaction")
	require.NoError(t, l.Close())
}

// naive is the plainest form of the producers' rules: it remembers every batch.
type naive struct {
	batches map[int64][]naiveBatch
	epoch   map[int64]int16
	open    map[int64]int64
	end     int64
	aborted []Aborted
}

type naiveBatch struct {
	epoch       int16
	first, last int32
	base        int64
}

// append returns the offset and what kind of answer there should be.
func (n *naive) append(id int64, epoch int16, first int32, count int, txn bool) (base int64, err *kerr.Error) {
	last := batch.AddSequence(first, int32(count-1))
	known, ok := n.epoch[id]
	var same []naiveBatch
	for _, b := range n.batches[id] {
		if b.epoch == epoch {
			same = append(same, b)
		}
	}
	if ok && known == epoch {
		for _, b := range same[max(0, len(same)-5):] {
			if b.first == first && b.last == last {
				return b.base, nil
			}
		}
	}
	switch {
	case ok && epoch < known:
		return 0, kerr.InvalidProducerEpoch
	case !txn && n.isOpen(id):
		return 0, kerr.InvalidTxnState
	case !ok:
	case epoch == known && len(same) > 0:
		if first != batch.AddSequence(same[len(same)-1].last, 1) {
			return 0, kerr.OutOfOrderSequenceNumber
		}
	case first != 0:
		return 0, kerr.OutOfOrderSequenceNumber
	}
	n.epoch[id] = epoch
	n.batches[id] = append(n.batches[id], naiveBatch{epoch, first, last, n.end})
	if txn && !n.isOpen(id) {
		n.open[id] = n.end
	}
	n.end += int64(count)
	return n.end - int64(count), nil
}

func (n *naive) isOpen(id int64) bool { _, ok := n.open[id]; return ok }

func (n *naive) mark(id int64, epoch int16, commit bool) *kerr.Error {
	if known, ok := n.epoch[id]; ok && epoch < known {
		return kerr.InvalidProducerEpoch
	}
	n.epoch[id] = epoch
	if first, ok := n.open[id]; ok && !commit {
		n.aborted = append(n.aborted, Aborted{ProducerID: id, FirstOffset: first, LastOffset: n.end})
	}
	delete(n.open, id)
	n.end++
	return nil
}

func (n *naive) stable() int64 {
	stable := n.end
	for _, first := range n.open {
		stable = min(stable, first)
	}
	return stable
}

func (n *naive) abortedIn(from, upper int64) []Aborted {
	var out []Aborted
	for _, a := range n.aborted {
		if a.LastOffset >= from && a.FirstOffset < upper {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Aborted) int { return int(a.FirstOffset - b.FirstOffset) })
	return out
}

func TestProducersAgainstANaiveModel(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 2))
		fs := vfs.NewCrashableMem()
		b := newBench(t, fs, SyncAlways)
		b.config = Config{SegmentBytes: 900, IndexBytes: 200}
		l := b.open()
		n := &naive{batches: map[int64][]naiveBatch{}, epoch: map[int64]int16{}, open: map[int64]int64{}}
		next := map[int64]int32{}
		for range 150 {
			id := 1 + rng.Int64N(4)
			switch rng.IntN(12) {
			case 0:
				l = b.reopen(l)
			case 1: // power cut; everything was synced
				old := b
				b = newBench(t, fs.CrashClone(vfs.CrashCloneCfg{}), SyncAlways)
				b.config, b.now = old.config, old.now
				fs = b.fs.(*vfs.MemFS)
				require.NoError(t, l.Close())
				l = b.open()
			case 2, 3:
				epoch := n.epoch[id] + int16(rng.IntN(4)/3) - int16(rng.IntN(8)/7)
				commit := rng.IntN(2) == 0
				want := n.mark(id, epoch, commit)
				_, err := l.AppendMarker(Marker{ProducerID: id, ProducerEpoch: epoch, Commit: commit})
				if want != nil {
					isKafka(t, want, err)
				} else {
					require.NoError(t, err)
				}
			default:
				epoch, count, txn := n.epoch[id], 1+rng.IntN(3), id < 3 || rng.IntN(20) == 0
				first := next[id]
				switch rng.IntN(8) {
				case 0:
					epoch += int16(rng.IntN(3) - 1)
					first = 0
				case 1:
					first = max(0, first-int32(rng.IntN(12)))
				case 2:
					first = batch.AddSequence(first, int32(rng.IntN(2)))
				}
				if rng.IntN(30) == 0 && n.epoch[id] == 0 && len(n.batches[id]) == 0 {
					first = math.MaxInt32 - 3
				}
				if epoch < 0 {
					continue
				}
				base, want := n.append(id, epoch, first, count, txn)
				p := batch.Producer{ID: id, Epoch: epoch, Sequence: first, Transactional: txn}
				a, err := l.Append(makeBatch(t, p, recs(count)...))
				if want != nil {
					require.Error(t, err)
					isKafka(t, want, err)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, base, a.BaseOffset)
				if !a.Duplicate {
					next[id] = batch.AddSequence(first, int32(count))
				}
			}
			require.Equal(t, n.end, l.End())
			require.Equal(t, n.stable(), l.LastStable())
			if n.stable() > 0 {
				from := rng.Int64N(n.stable())
				r, err := l.Read(from, 1+rng.IntN(2000), ReadCommitted)
				require.NoError(t, err)
				require.Equal(t, n.abortedIn(from, endOf(r.Batches[len(r.Batches)-1])), r.Aborted)
			}
		}
		require.NoError(t, l.Close())
	}
}

func TestProducerSnapshotRoundTrip(t *testing.T) {
	ps := producers{}
	for i := range int64(20) {
		p := newProducer(i)
		for j := range i % 7 {
			stamp := batch.Producer{ID: i, Epoch: 3, Sequence: int32(j), Transactional: i%2 == 0}
			p.append(mustParse(t, makeBatch(t, stamp, recs(1)...)), j, j, 77)
		}
		ps[i] = p
	}
	raw := ps.encode(42)
	got, err := decodeProducers(raw, 42)
	require.NoError(t, err)
	for id, p := range ps {
		have := got[id]
		require.Equal(t, p.recent[:p.kept], have.recent[:have.kept])
		p.recent, have.recent = [sequencesKept]sequenced{}, [sequencesKept]sequenced{}
		require.Equal(t, p, have)
	}
	_, err = decodeProducers(raw, 43)
	require.Error(t, err)
	for i := range raw {
		bad := slices.Clone(raw)
		bad[i] ^= 4
		_, err = decodeProducers(bad, 42)
		require.Error(t, err)
		_, err = decodeProducers(raw[:i], 42)
		require.Error(t, err)
	}
}

func mustParse(t testing.TB, raw []byte) batch.Batch {
	b, _, err := batch.Parse(raw)
	require.NoError(t, err)
	return b
}
