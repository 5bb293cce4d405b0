//go:build kill

package verify

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/verify/history"
)

var historyMinutes = flag.Float64("minutes", 1, "how long the histories are recorded, in all")

// fault is one way to disturb a broker. It returns when the disturbance is over.
type fault struct {
	name string
	do   func(r *rand.Rand)
}

// site is a broker that can be disturbed.
type site struct {
	options []kgo.Opt // that lead clients to it
	// faults of one list happen one after the other, those of different lists at the same time.
	faults [][]fault
	close  func()
}

// roundTime is how long a broker and its clients are disturbed before everybody calms down and the history is checked.
const roundTime = 12 * time.Second

// recordHistories runs rounds for half of the minutes. A form of the test opens the brokers.
func recordHistories(t *testing.T, open func(t *testing.T, r *rand.Rand) *site) {
	r := seeded(t)
	occurred := map[string]int{}
	until := time.Now().Add(time.Duration(*historyMinutes * float64(time.Minute) / 2))
	for round := 1; round == 1 || time.Now().Before(until); round++ {
		t.Run(fmt.Sprint(round), func(t *testing.T) { recordHistory(t, r, open(t, r), occurred) })
		if t.Failed() {
			break
		}
	}
	for _, name := range slices.Sorted(maps.Keys(occurred)) {
		t.Logf("%-22s %d", name, occurred[name])
		require.Positive(t, occurred[name], "the run shows nothing of %s", name)
	}
}

func recordHistory(t *testing.T, r *rand.Rand, s *site, occurred map[string]int) {
	defer s.close()
	for _, f := range slices.Concat(s.faults...) {
		occurred["fault: "+f.name] += 0
	}
	l := newLoad(t, r.Uint64(), s.options...)
	l.start()
	disturb(r, s.faults, occurred)
	h := history.History{}
	if t.Failed() { // there is no broker
		l.stop(0)
		h.Ops = l.ops
	} else {
		l.stop(patience)
		h = l.finish()
	}
	summarize(t, h, occurred)
	anomalies := history.Check(h)
	for _, a := range anomalies[:min(len(anomalies), 30)] {
		t.Errorf("anomaly: %s", a)
	}
}

// disturb lets faults happen for a round. Each list begins with one of each kind, in any order.
func disturb(r *rand.Rand, lists [][]fault, occurred map[string]int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	until := time.Now().Add(roundTime)
	for _, list := range lists {
		own := rand.New(rand.NewPCG(r.Uint64(), 0))
		wg.Go(func() {
			for i, order := 0, own.Perm(len(list)); i < len(order) || time.Now().Before(until); i++ {
				<-time.After(100*time.Millisecond + own.N(900*time.Millisecond))
				f := list[own.IntN(len(list))]
				if i < len(order) {
					f = list[order[i]]
				}
				f.do(own)
				mu.Lock()
				occurred["fault: "+f.name]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// finish ends what a transactional producer may have left, and reads everything.
func (l *load) finish() history.History {
	ctx, cancel := l.within()
	defer cancel()
	for _, name := range l.names {
		cl := l.client(kgo.TransactionalID(name))
		_, _, err := cl.ProducerID(ctx)
		cl.Close()
		if err != nil { // the coordinator's log is offline, say
			l.t.Errorf("anomaly: %s: end the transaction of %s: %v", history.Unreadable, name, err)
			return history.History{Ops: l.ops}
		}
	}
	h := history.History{Final: map[history.Partition]history.Reach{}, Committed: map[string]map[history.Partition]int64{}}
	cl := l.client(everything(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, "in", "out")
	require.NoError(l.t, err)
	ends.Each(func(o kadm.ListedOffset) {
		end := o.Offset
		if o.Err != nil { // it is offline
			end = math.MaxInt64
		}
		h.Final[history.Partition{Topic: o.Topic, Index: o.Partition}] = history.Reach{End: end}
	})
	require.Len(l.t, h.Final, 2*historyPartitions)
	l.readToEnd(cl, h.Final)
	for _, group := range []string{historyGroup, auditGroup} {
		offsets, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			l.t.Errorf("anomaly: %s: offsets of group %s: %v", history.Unreadable, group, err)
			continue
		}
		h.Committed[group] = map[history.Partition]int64{}
		offsets.Each(func(o kadm.OffsetResponse) {
			h.Committed[group][history.Partition{Topic: o.Topic, Index: o.Partition}] = o.At
		})
	}
	h.Ops = l.ops
	return h
}

// finalRead is how long the last read may take. What it does not reach by then hangs.
const finalRead = 20 * time.Second

// readToEnd reads each partition to its end and notes how far it comes.
func (l *load) readToEnd(cl *kgo.Client, final map[history.Partition]history.Reach) {
	ctx, cancel := context.WithTimeout(context.Background(), finalRead)
	defer cancel()
	behind := func() bool {
		for _, reach := range final {
			if reach.Next < reach.End {
				return true
			}
		}
		return false
	}
	const client = -1
	for from := beginning(); behind() && ctx.Err() == nil; from = nil {
		op := history.Op{Client: client, Kind: history.Poll, Begin: l.moment(), From: from, Final: true}
		for _, r := range cl.PollRecords(ctx, 10_000).Records() {
			h := asRecord(r)
			reach := final[h.Partition]
			final[h.Partition] = history.Reach{Next: r.Offset + 1, End: reach.End}
			if !r.Attrs.IsControl() {
				op.Polls = append(op.Polls, h)
			}
		}
		op.End = l.moment()
		l.note(op)
	}
}

// summarize counts the operations: a run in which nothing succeeded would show nothing.
func summarize(t *testing.T, h history.History, occurred map[string]int) {
	count := map[string]int{}
	for _, op := range h.Ops {
		count[fmt.Sprintf("%s %s", op.Kind, op.Outcome)]++
		for _, r := range op.Polls {
			if op.Kind == history.Poll && op.Client >= 0 {
				count["polled "+r.Partition.Topic]++
			}
		}
	}
	var line []string
	for _, name := range slices.Sorted(maps.Keys(count)) {
		line = append(line, fmt.Sprintf("%s %d", name, count[name]))
	}
	t.Log(strings.Join(line, ", "))
	for _, must := range []string{
		"send ok", "transaction ok", "transaction failed", "commit ok", "polled in", "polled out",
	} {
		occurred[must] += count[must]
	}
	for _, may := range []string{"send unknown", "transaction unknown"} {
		if n := count[may]; n > 0 {
			occurred[may] += n
		}
	}
}
