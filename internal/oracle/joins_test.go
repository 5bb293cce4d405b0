package oracle

import (
	"strings"

	"thalweg/stream"
)

// A joiner of the DSL does not see the key. Where a scenario's does, the key rides in the values of both sides.
const rides = "\x00"

func (b *builder) seesKey() bool { return b.n.Joiner == "keyed" }

func withKey(s streamOf) streamOf {
	return s.MapValuesWithKey(func(k, v str) str {
		if v == nil {
			return nil
		}
		if k == nil {
			return ptr(rides + *v)
		}
		return ptr("=" + *k + rides + *v)
	})
}

// unkeyed takes the key out of a value.
func unkeyed(v str) (k, plain str) {
	if v == nil {
		return nil, nil
	}
	key, rest, ok := strings.Cut(*v, rides)
	if !ok {
		return nil, v
	}
	if strings.HasPrefix(key, "=") {
		k = ptr(key[1:])
	}
	return k, &rest
}

// joinFn is the node's joiner for values that may carry their key.
func (b *builder) joinFn() func(l, r str) str {
	f := joiner(b.n.Joiner)
	if !b.seesKey() {
		return func(l, r str) str { return f(nil, l, r) }
	}
	return func(l, r str) str {
		k, l := unkeyed(l)
		k2, r := unkeyed(r)
		if k == nil {
			k = k2
		}
		return f(k, l, r)
	}
}

func (b *builder) joinStreams() {
	grace := int64(0)
	if b.n.Grace != nil {
		grace = *b.n.Grace
	}
	side := func(i int, name string) streamOf {
		s := b.keyed(b.stream(i), name)
		if b.seesKey() {
			s = withKey(s)
		}
		return s
	}
	l := side(0, "-left")
	r := l
	if b.n.In[0] != b.n.In[1] || b.stream(0).moved {
		r = side(1, "-right")
	}
	within := stream.Around(0, ms(grace)).Before(ms(b.n.Before)).After(ms(b.n.After))
	f := b.joinFn()
	name := "auto-" + b.n.ID
	var out streamOf
	switch b.n.Type {
	case "inner":
		out = l.Join(r, within, name, f)
	case "left":
		out = l.LeftJoin(r, within, name, func(l str, r *str) str { return f(l, deref(r)) })
	default:
		out = l.OuterJoin(r, within, name, func(l, r *str) str { return f(deref(l), deref(r)) })
	}
	b.put(flow{out, false})
}
