package topology

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Fingerprint is what of a topology is durable, one fact a line, sorted: which sub-topology reads and writes which
// topics and keeps which stores. Two programs with equal fingerprints can follow each other on the same state; what
// lies between (functions, nodes, their order) is free. Its String can be kept and read back with [ParseFingerprint].
type Fingerprint struct{ facts []string }

// Fingerprint tells what of the topology is durable.
func (t *Topology) Fingerprint() Fingerprint {
	var f Fingerprint
	for _, s := range t.subs {
		for _, n := range s.Nodes {
			if n.Kind == KindSink && n.Combined != nil {
				f.add("sub-topology %d combines what it writes to %s", s.ID, n.Sink)
			}
			for _, fact := range n.Facts {
				f.add("sub-topology %d %s", s.ID, fact)
			}
		}
		for _, in := range s.Inputs {
			f.add("sub-topology %d reads %s", s.ID, in)
		}
		for _, out := range s.Outputs {
			if out.Repartition {
				f.add("sub-topology %d writes %s", s.ID, out)
			}
		}
		for _, st := range s.Stores {
			spec := st.Spec()
			kept := "changelogged"
			if spec.Volatile {
				kept = "volatile"
			}
			if n, ok := s.RestoredFrom(st.Name()); ok {
				kept = fmt.Sprintf("restored from %s", n.Topics[0])
			}
			f.add("sub-topology %d keeps %s (%s, %s)", s.ID, st.Name(), spec.Kind, kept)
		}
	}
	for _, s := range t.globals {
		for _, st := range s.Stores {
			for _, in := range s.Inputs {
				f.add("global store %s (%s) is filled from %s", st.Name(), st.Spec().Kind, in)
			}
		}
	}
	slices.Sort(f.facts)
	f.facts = slices.Compact(f.facts)
	return f
}

func (f *Fingerprint) add(format string, args ...any) {
	f.facts = append(f.facts, fmt.Sprintf(format, args...))
}

// ParseFingerprint reads what String wrote.
func ParseFingerprint(s string) Fingerprint {
	return Fingerprint{facts: strings.FieldsFunc(s, func(r rune) bool { return r == '\n' })}
}

// String is the facts, one a line.
func (f Fingerprint) String() string {
	if len(f.facts) == 0 {
		return ""
	}
	return strings.Join(f.facts, "\n") + "\n"
}

// Sum is a short hash of the facts, equal for equal fingerprints.
func (f Fingerprint) Sum() string {
	sum := sha256.Sum256([]byte(f.String()))
	return hex.EncodeToString(sum[:8])
}

// Diff tells what is durable in f alone ("-") and in next alone ("+"), one fact a line; it is empty where both are
// equal.
func (f Fingerprint) Diff(next Fingerprint) string {
	var lines []string
	for _, fact := range f.facts {
		if !slices.Contains(next.facts, fact) {
			lines = append(lines, fact+"\x00-")
		}
	}
	for _, fact := range next.facts {
		if !slices.Contains(f.facts, fact) {
			lines = append(lines, fact+"\x00+")
		}
	}
	slices.Sort(lines)
	var b strings.Builder
	for _, l := range lines {
		fact, sign, _ := strings.Cut(l, "\x00")
		fmt.Fprintf(&b, "%s %s\n", sign, fact)
	}
	return b.String()
}
