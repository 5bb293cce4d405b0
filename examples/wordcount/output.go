package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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

// readCounts reads the output topic as far as it is committed: the last count of each word.
func readCounts(ctx context.Context, client *runtime.Client, n program.Program) (map[string]int64, error) {
	counts := map[string]int64{}
	for r, err := range client.Read(ctx, n.Counts, runtime.Earliest()) {
		if err != nil {
			return nil, err
		}
		counts[r.Key] = r.Value
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
