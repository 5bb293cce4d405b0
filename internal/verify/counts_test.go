//go:build kill

package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// guarantee is what is asked of counts.
type guarantee struct {
	flags []string
	exact bool
}

var (
	exactly = guarantee{exact: true}
	atLeast = guarantee{flags: []string{"-alo"}}
)

func (g guarantee) String() string {
	if g.exact {
		return "exactly-once"
	}
	return "at-least-once"
}

// check compares the counts of all words.
func (g guarantee) check(t *testing.T, want, got map[string]int64) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), "the words")
	wrong := 0
	for word, n := range want {
		if got[word] != n && g.exact || got[word] < n {
			wrong++
			if wrong <= 5 {
				t.Errorf("%s: %s: want %d, got %d", g, word, n, got[word])
			}
		}
	}
	require.Zero(t, wrong, "words that are counted wrong, of %d", len(want))
}

// printed are the counts that "wordcount -all" prints.
func printed(t *testing.T, out []byte) map[string]int64 {
	counts := map[string]int64{}
	previous := ""
	for line := range strings.Lines(string(out)) {
		word, number, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		require.True(t, ok, "line %q", line)
		n, err := strconv.ParseInt(number, 10, 64)
		require.NoError(t, err)
		require.Less(t, previous, word, "the order of the words")
		counts[word], previous = n, word
	}
	return counts
}

// published reads the topic of counts to its end, as a reader of committed records does: the last count of each word.
// Under exactly-once a word's counts must rise: a repetition or a step back would be the trace of a crash.
func (g guarantee) published(t *testing.T, addr string) map[string]int64 {
	counts, records := map[string]int64{}, 0
	readCommitted(t, addr, "-counts", func(r *kgo.Record) {
		records++
		require.Len(t, r.Value, 8)
		word, n := string(bytes.Clone(r.Key)), int64(binary.BigEndian.Uint64(r.Value))
		if g.exact {
			require.Greater(t, n, counts[word], "%s: partition %d offset %d: a count that does not rise", word,
				r.Partition, r.Offset)
		}
		counts[word] = n
	})
	t.Logf("%d counts of %d words are published", records, len(counts))
	return counts
}

// readCommitted reads the one topic whose name ends so to its end, as a reader of committed records does.
func readCommitted(t *testing.T, addr, suffix string, each func(*kgo.Record)) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.DisableClientMetrics())
	require.NoError(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx)
	require.NoError(t, err)
	var names []string
	for _, name := range topics.Names() {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	require.Len(t, names, 1, "topics of %s, of %v", suffix, topics.Names())
	// A transaction that a killed process left open holds the reader up until the broker aborts it.
	var ends kadm.ListedOffsets
	require.Eventually(t, func() bool {
		committed, err1 := admin.ListCommittedOffsets(ctx, names...)
		all, err2 := admin.ListEndOffsets(ctx, names...)
		ends = committed
		return err1 == nil && err2 == nil && maps.EqualFunc(committed[names[0]], all[names[0]],
			func(a, b kadm.ListedOffset) bool { return a.Err == nil && b.Err == nil && a.Offset == b.Offset })
	}, 30*time.Second, 20*time.Millisecond, "a transaction on %s stays open", names[0])

	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().AtStart()
		}
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{names[0]: from})
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		require.NoError(t, fetched.Err())
		for r := range fetched.RecordsAll() {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				each(r)
			}
		}
	}
}
