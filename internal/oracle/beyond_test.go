package oracle

import (
	stdcontext "context"
	"strings"
	"time"

	"thalweg/stream"
)

// onBeyond builds the ops that Kafka Streams does not have: random topologies have them, no corpus.
func (b *builder) onBeyond() bool {
	switch b.n.Op {
	case "mapAsync":
		x, f := b.stream(0), valueFunc(b.n.Fn)
		b.put(flow{x.MapAsync(3, func(_ stdcontext.Context, k, v str) (str, error) { return f(k, v), nil }), x.moved})
	case "deduplicate":
		x := b.keyed(b.stream(0), "")
		b.put(flow{x.Deduplicate(stream.DuplicatesWithin(time.Hour), "auto-"+b.n.ID, keyFunc(b.n.Key)), false})
	case "batch":
		x := b.keyed(b.stream(0), "")
		b.put(flow{x.Batch(3, 0, "auto-"+b.n.ID, func(_ str, vs []str) str {
			shown := make([]string, len(vs))
			for i, v := range vs {
				shown[i] = show(v)
			}
			return ptr(strings.Join(shown, "+"))
		}), false})
	default:
		return false
	}
	return true
}
