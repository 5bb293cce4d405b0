package topology

import (
	"slices"

	"thalweg/serde"
	"thalweg/state"
)

// Prefetchers returns the prefetchers of the nodes that see the sources' keys unchanged. Each call makes new ones, for
// one input.
func (g *Graph) Prefetchers(sources []Source) (found []state.Prefetcher) {
	met := map[*Node]bool{}
	for _, s := range sources {
		n := s.Instance().Node
		found = append(found, g.prefetchers(n, n.Keys, met)...)
	}
	return found
}

// prefetchFlushed gives stores the prefetchers of the look-ups that their flushes lead to.
func (g *Graph) prefetchFlushed() {
	for _, in := range g.Instances {
		if in.flushed.tell == nil {
			continue
		}
		var found []state.Prefetcher
		met := map[*Node]bool{}
		for _, c := range in.Node.children {
			found = append(found, g.prefetchers(c, in.flushed.keys, met)...)
		}
		in.flushed.tell(found)
	}
}

// prefetchers are those of a node and of the nodes below it, as long as keys stay what they are.
func (g *Graph) prefetchers(n *Node, keys any, met map[*Node]bool) (found []state.Prefetcher) {
	at := slices.IndexFunc(g.Instances, func(in *Instance) bool { return in.Node == n })
	if at < 0 || met[n] { // in another sub-topology
		return nil
	}
	met[n] = true
	in := g.Instances[at]
	for _, a := range in.ahead {
		if serde.Same(a.keys, keys) {
			found = append(found, a.make())
		}
	}
	if in.hook != nil {
		if tell := in.hook(keys); tell != nil {
			found = append(found, &hook{in: in, tell: tell})
		}
	}
	if n.ChangesKey || in.flushed.tell != nil {
		return found
	}
	for _, c := range n.children {
		found = append(found, g.prefetchers(c, keys, met)...)
	}
	return found
}

// hookOf returns what passes encoded keys to a processor, given their serde.
func hookOf[K any](p Prefetcher[K]) func(keys any) func([][]byte) {
	return func(keys any) func([][]byte) {
		shared, ok := keys.(serde.Serde[K])
		if !ok {
			return nil
		}
		decoder := serde.Local(shared)
		return func(encoded [][]byte) {
			decoded := make([]K, 0, len(encoded))
			for _, b := range encoded {
				if key, err := decoder.Decode(b); err == nil { // else the record fails when it comes
					decoded = append(decoded, key)
				}
			}
			p.Prefetch(decoded)
		}
	}
}

// hook is the state.Prefetcher of a processor that implements Prefetcher.
type hook struct {
	in     *Instance
	tell   func(keys [][]byte)
	wanted int // RowsWanted, when it was asked last
}

// RowsWanted is what the store with the least room has room for, of those that are not all in memory.
func (h *hook) RowsWanted() (least int) {
	for _, s := range h.in.Node.Stores {
		if n := h.in.Env.Tx.RowsAheadMax(s.Name()); n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	h.wanted = least
	return least
}

func (h *hook) PrefetchRows(a *state.Ahead) int {
	n := min(len(a.Keys), h.wanted)
	if n == 0 {
		return len(a.Keys)
	}
	h.in.Resume()
	h.tell(a.Keys[:n])
	return n
}

func (h *hook) LinesWanted() bool      { return false }
func (h *hook) PrefetchLines([][]byte) {}
