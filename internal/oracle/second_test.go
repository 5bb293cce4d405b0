package oracle

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const secondExpectations = "testdata/second.jsonl.gz"

var (
	secondFile = flag.String("second", secondExpectations, "second expectations of listed scenarios, one a line")
	listedFile = flag.String("listed", "", "write the listed scenarios that have no second expectation to this file")
)

// seconds are the second expectations of scenarios that a rule lists, by id: what a Kafka Streams makes of them that
// does not have the defect, and that keeps all windows for a day. java/oracle writes them.
type seconds struct {
	expect  map[string]*expect
	missing map[string]*scenario // that no expectation was found for
}

func loadSeconds(file string) (seconds, error) {
	known := seconds{map[string]*expect{}, map[string]*scenario{}}
	lines, err := readLines(file)
	for _, line := range lines {
		var s struct {
			ID     string
			Expect *expect
		}
		if err := json.Unmarshal(line, &s); err != nil {
			return known, fmt.Errorf("%s: %w", file, err)
		}
		known.expect[s.ID] = s.Expect
	}
	return known, err
}

// readLines reads the lines of a file that are not empty, compressed or not.
func readLines(file string) (all [][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) != "" {
			all = append(all, slices.Clone(lines.Bytes()))
		}
	}
	return all, lines.Err()
}

// day is for how long windows are kept where nothing shall expire.
const day = 24 * time.Hour

// second compares strictly with a listed scenario's second expectation: all that comes out where windows are kept for a
// day here, too; and what has come out in the mode, but for the rows of windows, which expire. Where a session or a
// cached window that has expired could be met again only the former counts: it is gone here, and there it is not.
func (k seconds) second(t *testing.T, s *scenario, m mode, got *expect) []string {
	known, ok := k.expect[s.ID]
	if !ok {
		k.missing[s.ID] = s
		if *listedFile != "" {
			return nil
		}
		return []string{"no second expectation: see java/oracle second"}
	}
	want := *known
	want.Order = s.Expect.Order
	if s.Expect.Dropped == nil { // Kafka's own stores disagree on it
		want.Dropped = nil
	}
	if m.partitions > 1 {
		want.Order = perKey(&scenario{Expect: want})
	}
	short := want
	short.Stores = maps.Clone(want.Stores)
	for _, n := range s.Nodes {
		if n.Window != nil && n.Store != nil {
			delete(short.Stores, n.Store.Name)
		}
	}
	var diffs []string
	if !meetsExpired(s) {
		diffs = differences(&short, got)
	}
	m.keep = day
	kept, err := execute(t, s, m)
	diffs = append(diffs, differences(&want, &kept)...)
	for i := range diffs {
		diffs[i] = "second: " + diffs[i]
	}
	if len(diffs) > 0 && err != nil {
		diffs = append(diffs, fmt.Sprintf("second: error: %v", err))
	}
	return diffs
}

func meetsExpired(s *scenario) bool {
	return cachedExpired(s) || slices.ContainsFunc(s.Nodes, func(n node) bool {
		return n.Window != nil && n.Window.Type == "session"
	})
}

// writeMissing writes the scenarios that need a second expectation.
func (k seconds) writeMissing(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(k.missing)) {
		if _, err := fmt.Fprintf(f, "%s\n", k.missing[id].line); err != nil {
			return err
		}
	}
	return f.Close()
}
