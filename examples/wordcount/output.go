package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/examples/internal/place"
	"thalweg/examples/wordcount/program"
	"thalweg/runtime"
)

// progress shows on a terminal how far the run is.
type progress struct {
	lines   atomic.Int64
	started time.Time
	stop    chan struct{}
	stopped chan struct{}
}

func watch(w io.Writer, app *runtime.App) *progress {
	p := &progress{started: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(p.stopped)
		if !isTerminal(w) {
			return
		}
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(w, "\r\x1b[K%d lines fed, %d counted, %s", p.lines.Load(), counted(app),
					time.Since(p.started).Round(100*time.Millisecond))
			case <-p.stop:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	}()
	return p
}

// done ends the display and says how long it took.
func (p *progress) done() time.Duration {
	took := time.Since(p.started)
	close(p.stop)
	<-p.stopped
	return took
}

// counted is how many lines this process has taken from the topic.
func counted(app *runtime.App) int64 {
	for _, n := range app.Stats().Nodes {
		if strings.HasPrefix(n.Node, "flat-map") || strings.HasPrefix(n.Node, "flatMap") {
			return n.Processed
		}
	}
	return 0
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// endsOf waits for a broker that is away for a moment, as the application before it did.
func endsOf(ctx context.Context, admin *kadm.Client, topic string) (kadm.ListedOffsets, error) {
	for tries := 0; ; tries++ {
		ends, err := admin.ListCommittedOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if _, away := errors.AsType[*net.OpError](err); !away || tries == endsTriesMax {
			return ends, err
		}
		select {
		case <-time.After(endsAgainAfter):
		case <-ctx.Done():
			return ends, context.Cause(ctx)
		}
	}
}

const (
	endsTriesMax   = 40
	endsAgainAfter = 250 * time.Millisecond
)

// readCounts reads the output topic as far as it is committed: the last count of each word.
func readCounts(ctx context.Context, here *place.Place, n program.Program) (map[string]int64, error) {
	client, err := here.Client(kgo.KeepControlRecords()) // so that the last offset shows, whatever it holds
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := endsOf(ctx, kadm.NewClient(client), n.Counts.Name())
	if err != nil {
		return nil, fmt.Errorf("read: list offsets of topic %s: %w", n.Counts.Name(), err)
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().At(0), o.Offset
		}
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{n.Counts.Name(): from})
	counts := map[string]int64{}
	keys, values := n.Counts.Serdes()
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err0(); err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		for _, f := range fetched.Errors() {
			return nil, fmt.Errorf("read: topic %s partition %d: %w", f.Topic, f.Partition, f.Err)
		}
		for r := range fetched.RecordsAll() {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if r.Attrs.IsControl() {
				continue
			}
			word, err := keys.Decode(r.Key)
			if err != nil {
				return nil, fmt.Errorf("read: topic %s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
			if counts[word], err = values.Decode(r.Value); err != nil {
				return nil, fmt.Errorf("read: topic %s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
		}
	}
	return counts, nil
}

// printAll prints every word in the order of its bytes.
func printAll(w io.Writer, counts map[string]int64) error {
	out := bufio.NewWriter(w)
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "%s\t%d\n", word, counts[word])
	}
	return out.Flush()
}

// printTop prints the most frequent words and a line of figures.
func printTop(w io.Writer, counts map[string]int64, lines int64, took time.Duration) error {
	byCount := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	var words int64
	for _, n := range counts {
		words += n
	}
	out := bufio.NewWriter(w)
	for _, word := range byCount[:min(20, len(byCount))] {
		fmt.Fprintf(out, "%9d  %s\n", counts[word], word)
	}
	fmt.Fprintf(out, "%d lines, %d words, %d distinct, %.1f s, %.0f words/s\n", lines, words, len(counts),
		took.Seconds(), float64(words)/took.Seconds())
	return out.Flush()
}
