package kclient

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// logOf makes a partition's batches out of steps: "1:x" = producer 1 writes x in a transaction, "1!" aborts,
// "1." commits, "x" is written without a transaction.
func logOf(t *testing.T, steps ...string) []byte {
	t.Helper()
	var out []byte
	for _, s := range steps {
		var raw []byte
		switch {
		case len(s) == 2 && (s[1] == '!' || s[1] == '.'):
			kind := batch.Commit
			if s[1] == '!' {
				kind = batch.Abort
			}
			raw = batch.AppendControl(nil, batch.Control{Type: kind, ProducerID: int64(s[0] - '0')})
		default:
			p := batch.NoProducer()
			if len(s) > 2 && s[1] == ':' {
				p = batch.Producer{ID: int64(s[0] - '0'), Transactional: true}
				s = s[2:]
			}
			b := batch.NewBuilder(batch.None)
			b.Append(0, nil, []byte(s), nil)
			var err error
			raw, err = b.Finish(p)
			require.NoError(t, err)
			raw = slices.Clone(raw)
		}
		size := int64(0)
		for range batch.BatchesOf(out) {
			size++
		}
		batch.SetBaseOffset(raw, size, 0)
		out = append(out, raw...)
	}
	return out
}

func TestAbortFilter(t *testing.T) {
	for name, c := range map[string]struct {
		log     []string
		aborted []abortedTxn
		want    []string
	}{
		"nothing aborted":      {[]string{"a", "1:b", "1.", "c"}, nil, []string{"a", "b", "c"}},
		"one":                  {[]string{"a", "1:b", "1:c", "1!", "d"}, []abortedTxn{{1, 1}}, []string{"a", "d"}},
		"then committed":       {[]string{"1:a", "1!", "1:b", "1."}, []abortedTxn{{1, 0}}, []string{"b"}},
		"committed before":     {[]string{"1:a", "1.", "1:b", "1!"}, []abortedTxn{{1, 2}}, []string{"a"}},
		"interleaved":          {[]string{"1:a", "2:b", "1:c", "1!", "2:d", "2."}, []abortedTxn{{1, 0}}, []string{"b", "d"}},
		"both, list unsorted":  {[]string{"1:a", "2:b", "2!", "1!", "c"}, []abortedTxn{{2, 1}, {1, 0}}, []string{"c"}},
		"begun before the log": {[]string{"3:a", "3!", "3:b", "3."}, []abortedTxn{{3, -40}}, []string{"b"}},
		"without transaction":  {[]string{"1:a", "x", "1!"}, []abortedTxn{{1, 0}}, []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			filter := newAbortFilter(c.aborted)
			var got []string
			for b, err := range batch.BatchesOf(logOf(t, c.log...)) {
				require.NoError(t, err)
				keep, err := filter.keep(b)
				require.NoError(t, err)
				if !keep || b.IsControl() {
					continue
				}
				it, err := b.Records(nil)
				require.NoError(t, err)
				var r batch.Record
				require.True(t, it.Next(&r))
				got = append(got, string(r.Value))
			}
			require.Equal(t, c.want, got)
		})
	}
}

// spoiled is a transport that changes answers of fetches.
type spoiled struct {
	transport
	calls atomic.Int64
	spoil func(call int64, a *fetchAnswer)
}

func (s *spoiled) checked() bool { return false }

func (s *spoiled) fetch(ctx context.Context, node int32, req *fetchRequest) ([]fetchAnswer, error) {
	answers, err := s.transport.fetch(ctx, node, req)
	call := s.calls.Add(1)
	for i := range answers {
		s.spoil(call, &answers[i])
	}
	return answers, err
}

// breakBatch flips a bit in the records of an answer's first batch, in a copy.
func breakBatch(a *fetchAnswer) {
	for i, run := range a.runs {
		run = slices.Clone(run)
		if len(run) > batch.HeaderBytes {
			run[batch.HeaderBytes] ^= 1
		}
		a.runs[i] = run
	}
}

func TestFetchesThatGoWrong(t *testing.T) {
	for name, spoil := range map[string]func(call int64, a *fetchAnswer){
		"leader moves": func(call int64, a *fetchAnswer) {
			if call%2 == 1 {
				*a = fetchAnswer{err: kerr.NotLeaderForPartition}
			}
		},
		"topic is not known yet": func(call int64, a *fetchAnswer) {
			if call < 3 {
				*a = fetchAnswer{err: kerr.UnknownTopicID}
			}
		},
		"broken on its way": func(call int64, a *fetchAnswer) {
			if call%2 == 1 {
				breakBatch(a)
			}
		},
		"cut in a batch": func(call int64, a *fetchAnswer) {
			for i, run := range a.runs {
				if n := len(run); n > 0 && call%3 != 0 {
					a.runs[i] = run[:n-1]
				}
			}
		},
		"no answer for it": func(call int64, a *fetchAnswer) {
			if call%2 == 1 {
				*a = fetchAnswer{err: errNoAnswer}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryBroker(t, func(t *testing.T, b *bench) {
				l := b.producer("")
				topic := b.topic(l, "in", 1)
				for i := range 12 {
					b.produce(l, item(topic, 0, fmt.Sprint(i)))
				}
				f := newFetcher(FetcherConfig{BytesMax: 200, PartitionBytesMax: 200}, l.cfg,
					&spoiled{transport: l.transport, spoil: spoil}, l.metadata)
				defer f.Close()
				tp := TopicPartition{topic, 0}
				f.Set(tp, 0)
				require.Equal(t, numbered("", 12), b.reader(f).until(tp, 12))
			})
		})
	}
}

func TestFetchesThatStayWrong(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(call int64, a *fetchAnswer)
		want  string
	}{
		"no rights":  {func(_ int64, a *fetchAnswer) { *a = fetchAnswer{err: kerr.TopicAuthorizationFailed} }, "rights"},
		"bad format": {func(_ int64, a *fetchAnswer) { *a = fetchAnswer{runs: [][]byte{make([]byte, 100)}} }, "magic 0"},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryBroker(t, func(t *testing.T, b *bench) {
				l := b.producer("")
				topic := b.topic(l, "in", 1)
				tp := TopicPartition{topic, 0}
				b.produce(l, item(topic, 0, "x"))
				f := newFetcher(FetcherConfig{}, l.cfg, &spoiled{transport: l.transport, spoil: c.spoil}, l.metadata)
				defer f.Close()
				f.Set(tp, 0)
				r := b.reader(f)
				for r.last[tp].Err == nil {
					r.take()
				}
				err := r.last[tp].Err
				require.ErrorContains(t, err, topic+"-0")
				require.ErrorContains(t, err, "offset 0")
				require.ErrorContains(t, err, c.want)
				require.Equal(t, Fatal, ClassOf(err))
			})
		})
	}
}

// A batch that stays damaged is handed over as one that cannot be read, and what follows is fetched, whether the broker
// says where it ends or the batch itself does.
func TestFetchingBehindDamage(t *testing.T) {
	for name, spoil := range map[string]func(a *fetchAnswer){
		"broken bytes":       breakBatch,
		"the broker says so": func(a *fetchAnswer) { *a = fetchAnswer{err: kerr.CorruptMessage, afterDamage: 3} },
	} {
		t.Run(name, func(t *testing.T) {
			onEveryBroker(t, func(t *testing.T, b *bench) {
				l := b.producer("")
				topic := b.topic(l, "in", 1)
				tp := TopicPartition{topic, 0}
				b.produce(l, item(topic, 0, "a", "b", "c"))
				b.produce(l, item(topic, 0, "d"))
				f := newFetcher(FetcherConfig{BytesMax: 1, PartitionBytesMax: 1}, l.cfg, &spoiled{
					transport: l.transport, spoil: func(_ int64, a *fetchAnswer) {
						if len(a.runs) > 0 && firstOffset(a) == 0 {
							spoil(a)
						}
					},
				}, l.metadata)
				defer f.Close()
				f.Set(tp, 0)
				damaged := <-f.Fetched()
				require.NoError(t, damaged[0].Err)
				require.EqualValues(t, 3, damaged[0].Next)
				_, err := damaged[0].Batches[0].Records(nil)
				require.ErrorIs(t, err, batch.ErrCorrupt)
				require.ErrorContains(t, err, topic+"-0 at offset 0")
				whole := <-f.Fetched()
				require.EqualValues(t, 3, whole[0].Batches[0].BaseOffset())
			})
		})
	}
}

func firstOffset(a *fetchAnswer) int64 {
	b, _, err := batch.Parse(a.runs[0])
	if err != nil {
		return -1
	}
	return b.BaseOffset()
}
