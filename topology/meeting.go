package topology

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"thalweg/serde"
)

// placement is how the records of a source lie in the partitions of its topics.
type placement struct {
	what, site  string
	keys        any  // the serde of the bytes whose hash chooses the partition
	hashed      bool // its bytes are not those that are hashed, and nobody says what is
	partitioner any
}

// checkMeetings checks that records which meet by key are partitioned by it alike: equal keys must have equal bytes and
// one way to choose the partition. A certain difference is an error, a possible one a warning.
func (t *Topology) checkMeetings() (errs []error, warnings []string) {
	reach, compared := map[*Node][]*placement{}, map[[2]*placement]bool{}
	for _, n := range t.nodes {
		if n.Global {
			continue
		}
		var set []*placement
		if own := n.placement(); own != nil {
			set = append(set, own)
		}
		for _, p := range slices.Concat(n.parents, n.Beside) {
			for _, l := range reach[p] {
				if !slices.Contains(set, l) {
					set = append(set, l)
				}
			}
		}
		for i, a := range set {
			for _, b := range set[:i] {
				if !n.ByKey || compared[[2]*placement{b, a}] || compared[[2]*placement{a, b}] {
					continue
				}
				compared[[2]*placement{b, a}] = true
				why, certain := b.differs(a)
				text := fmt.Sprintf("%s: node %q: records of %s (%s) and of %s (%s) meet here by key, but %s", n.Site, n.Name,
					b.what, b.site, a.what, a.site, why)
				if certain {
					errs = append(errs, errors.New(text))
				} else if why != "" {
					warnings = append(warnings, text)
				}
			}
		}
		switch {
		case n.LaidByKey:
			reach[n] = []*placement{n.asserted()}
		case !n.ChangesKey:
			reach[n] = set
		}
	}
	return errs, warnings
}

// placement is how the records of a source lie. It is nil where the node is no source, or where its records lie where
// those lie that they meet.
func (n *Node) placement() *placement {
	if n.Kind != KindSource || n.Placed || n.Keys == nil {
		return nil
	}
	topics := make([]string, len(n.Topics))
	for i, t := range n.Topics {
		topics[i] = t.String()
	}
	l := n.asserted()
	l.what, l.partitioner = "topic "+strings.Join(topics, ", "), n.Partitioner
	return l
}

// asserted is how records lie by the hash of their keys.
func (n *Node) asserted() *placement {
	l := &placement{what: fmt.Sprintf("node %q", n.Name), site: n.Site, keys: n.Keys}
	if h, ok := n.Keys.(interface{ HashKeys() any }); ok {
		l.keys = h.HashKeys()
	} else if n.Keys != nil {
		_, l.hashed = reflect.TypeOf(n.Keys).MethodByName("AppendHash")
	}
	return l
}

// differs tells why equal keys may lie in different partitions, and whether they certainly do; "": they do not.
func (l *placement) differs(o *placement) (why string, certain bool) {
	const way = "read one of them through Repartition(\"a name\")"
	switch {
	case !samePartitioner(l.partitioner, o.partitioner):
		return "the topics have different partitioners: unless these agree, equal keys lie in different partitions, and " +
			way + ", or both where both have one", false
	case l.partitioner != nil || serde.Same(l.keys, o.keys):
		return "", false
	}
	x, y := serde.Format(l.keys), serde.Format(o.keys)
	switch {
	case x != "" && x == y:
		return "", false
	case x == "" || y == "" || l.hashed || o.hashed:
		return fmt.Sprintf("their keys have different serdes, %s and %s: if these write equal keys in different bytes, "+
			"equal keys lie in different partitions: use one value for both, give the serdes the method Format() string, or "+
			"%s.Keys(the other's serde)", cmp.Or(x, fmt.Sprintf("%T", l.keys)), cmp.Or(y, fmt.Sprintf("%T", o.keys)), way), false
	default:
		return fmt.Sprintf("the keys of one are written as %s and those of the other as %s: equal keys have different "+
			"bytes and lie in different partitions: give both topics the same serde of keys, or %s.Keys(the other's serde)",
			x, y, way), true
	}
}

// samePartitioner tells whether two functions that choose partitions are the same one, or both nil. Closures of one
// function literal count as the same, whatever they capture.
func samePartitioner(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}
