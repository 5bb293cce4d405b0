package topology

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"thalweg/state"
)

// rehearse finds what only a processor's Init shows: which stores it opens. For each node that runs a processor of the
// program's own, one is made, initialised and closed again, on stores that are empty and thrown away. What it forwards
// and schedules goes nowhere, and what else fails in it is left to the tasks, whose stores have rows. All mistakes are
// reported at once, each with the lines that made the node and that opened the store.
func (t *Topology) rehearse() (errs []error) {
	env := Env{StreamTime: Unknown, Punctuator: noPunctuator{}, Marks: map[string]*int64{}}
	if len(t.globals) > 0 {
		env.Globals = state.NewReader(nil) // of no namespace: it finds nothing
	}
	for _, n := range t.nodes {
		if n.rehearse == nil || len(n.faults) > 0 {
			continue
		}
		mine := env
		mine.Tx = state.NewTx(state.Config{})
		var told []string
		in := mine.instance(n)
		in.refused = func(store, at string) {
			if text := t.unconnected(n, store, at); !slices.Contains(told, text) {
				told = append(told, text)
			}
		}
		if err := n.rehearse(in); err != nil {
			errs = append(errs, fmt.Errorf("%s: node %s: %w", n.Site, n.Name, err))
		}
		for _, text := range told {
			errs = append(errs, errors.New(text))
		}
		if err := mine.Tx.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// unconnected says what is wrong with a node that opens a store at a line, and what to write instead.
func (t *Topology) unconnected(n *Node, store, at string) string {
	text := fmt.Sprintf("%s: node %s opens store %q (%s), which is not connected to it", n.Site, n.Name, store, at)
	for _, o := range t.nodes {
		if !slices.ContainsFunc(o.Stores, func(s state.Store) bool { return s.Name() == store }) {
			continue
		}
		if o.Global && !n.Global {
			return text + fmt.Sprintf(": the store is global (%s), read it with Read(context.Globals())", o.Site)
		}
		text += fmt.Sprintf(" but to %s (%s)", o.Name, o.Site)
		break
	}
	if n.Global {
		return text + ": the processor of a global store has that store alone"
	}
	return text + ": add it to the stores that the call names"
}

// rehearsal is what rehearse does with a node whose processors are made by make.
func rehearsal[K, V, KO, VO any](make func() Processor[K, V, KO, VO]) func(*Instance) error {
	return func(in *Instance) error {
		p, other := make(), make()
		if p == nil {
			return errors.New("the function that makes its processors returned nil")
		}
		v := reflect.ValueOf(p)
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return errors.New("the function that makes its processors returned nil")
		}
		if v.Kind() == reflect.Pointer && v.Type().Elem().Size() > 0 && any(p) == any(other) {
			return errors.New("the function that makes its processors returned the same one twice: each task needs one of " +
				"its own")
		}
		nowhere := Port[KO, VO](func(*Record[KO, VO]) error { return nil })
		next := []any{}
		for range in.Node.children {
			next = append(next, nowhere)
		}
		defer func() { _ = recover() }() // the tasks will tell
		if err := p.Init(newContext(in, nowhere, next)); err != nil {
			return nil //nolint:nilerr // the tasks will tell, if it is not because of a store that was refused
		}
		if closer, ok := p.(Closer); ok {
			_ = closer.Close()
		}
		return nil
	}
}

// noPunctuator calls nobody.
type noPunctuator struct{}

func (noPunctuator) Schedule(*Instance, TimeKind, int64, int64, func(now int64) error) (cancel func()) {
	return func() {}
}

// opener is the line outside of this package and of the stores' that opens a store.
func opener() string { return lineOutside(packageOf[Node](), packageOf[state.Tx]()) }
