package oracle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// differences says where what came out is not what Kafka Streams made.
func differences(want, got *expect) (diffs []string) {
	if w, g := want.Error, got.Error; (w == nil) != (g == nil) || w != nil && (w.Phase != g.Phase || w.At != g.At) {
		diffs = append(diffs, fmt.Sprintf("error: want %s, got %s", text(w), text(g)))
	}
	for _, topic := range keys(want.Outputs, got.Outputs) {
		diffs = append(diffs, compare("outputs "+topic, want.Order[topic], want.Outputs[topic], got.Outputs[topic])...)
	}
	for _, id := range keys(want.Peeks, got.Peeks) {
		diffs = append(diffs, compare("peeks "+id, want.Order["peek:"+id], want.Peeks[id], got.Peeks[id])...)
	}
	if want.Error != nil {
		return diffs
	}
	for name, rows := range want.Stores {
		have, ok := got.Stores[name]
		if !ok {
			diffs = append(diffs, "store "+name+": not read")
			continue
		}
		diffs = append(diffs, firstOf("store "+name, texts(rows), texts(have))...)
	}
	if want.Dropped != nil && (got.Dropped == nil || *want.Dropped != *got.Dropped) {
		diffs = append(diffs, fmt.Sprintf("dropped: want %d, got %s", *want.Dropped, text(got.Dropped)))
	}
	return diffs
}

func keys(a, b map[string][]record) []string {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func text(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func lines(records []record, order string) []string {
	out := make([]string, 0, len(records))
	for _, r := range records {
		for _, h := range r.Headers {
			if *h[0] == "__streams.errors.exception" {
				h[1] = nil
			}
		}
		out = append(out, text(r))
	}
	switch order {
	case "any":
		sort.Strings(out)
	case "perKey":
		sort.SliceStable(out, func(i, j int) bool { return keyOf(out[i]) < keyOf(out[j]) })
	}
	return out
}

// keyOf cuts the key out of a record's JSON, which begins with it.
func keyOf(line string) string {
	k, _, _ := strings.Cut(line, `,"value":`)
	return k
}

func compare(what, order string, want, got []record) []string {
	return firstOf(what, lines(want, order), lines(got, order))
}

func texts(rows []row) (out []string) {
	for _, r := range rows {
		out = append(out, text(r))
	}
	return out
}

// firstOf says where two lists differ first.
func firstOf(what string, w, g []string) []string {
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			return []string{fmt.Sprintf("%s[%d] of %d: want nothing, got %s", what, i, len(w), g[i])}
		case i >= len(g):
			return []string{fmt.Sprintf("%s[%d] of %d: want %s, got nothing", what, i, len(w), w[i])}
		case w[i] != g[i]:
			return []string{fmt.Sprintf("%s[%d]: want %s, got %s", what, i, w[i], g[i])}
		}
	}
	return nil
}
