package oracle

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"thalweg/state"
	"thalweg/topology"
)

type context = topology.Context[str, str]

// proc is the catalogue of processors.
type proc struct {
	name  string
	args  []string
	store *state.KV[str, str] // its own
	// Of the processor with a versioned store.
	history *state.Versioned[str, str]
	refused func()
	past    *state.VersionedStore[str, str]

	look func(h *context) (func(k str) str, error)

	c     *context
	kv    *state.KVStore[str, str]
	find  func(k str) str
	stop  func()
	fired int
}

// ownsStore tells whether a processor has a key-value store.
func ownsStore(p string) bool {
	name, _, _ := strings.Cut(p, ":")
	return name == "dedupe" || name == "counter" || name == "punct"
}

func (p *proc) arg(i int) int64 {
	n, _ := strconv.ParseInt(p.args[i], 10, 64)
	return n
}

func (p *proc) Init(c *context) (err error) {
	p.c = c
	if p.store != nil {
		if p.kv, err = p.store.Open(c); err != nil {
			return err
		}
	}
	if p.history != nil {
		if p.past, err = p.history.Open(c); err != nil {
			return err
		}
	}
	if p.look != nil {
		if p.find, err = p.look(c); err != nil {
			return err
		}
	}
	if p.name == "punct" || p.name == "tick" {
		kind := topology.StreamTime
		if p.args[0] == "wall" {
			kind = topology.WallClock
		}
		p.stop, err = c.Schedule(time.Duration(p.arg(1))*time.Millisecond, kind, p.fire)
	}
	return err
}

func (p *proc) fire(now int64) error {
	if p.name == "tick" {
		if err := p.c.Forward(topology.Record[str, str]{Key: ptr("tick"), Value: dec(now), Timestamp: now}); err != nil {
			return err
		}
		if p.fired++; len(p.args) > 2 && int64(p.fired) >= p.arg(2) {
			p.stop()
		}
		return nil
	}
	var rows []pair
	for e, err := range p.kv.All() {
		if err != nil {
			return err
		}
		rows = append(rows, pair{e.Key, e.Value})
	}
	slices.SortFunc(rows, func(a, b pair) int { return cmp.Compare(*a.k, *b.k) })
	for _, r := range rows {
		if err := p.c.Forward(topology.Record[str, str]{Key: r.k, Value: r.v, Timestamp: now}); err != nil {
			return err
		}
		if p.args[2] == "clear" {
			if err := p.kv.Delete(r.k, now); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *proc) Process(r topology.Record[str, str]) error {
	with := func(v string) error { r.Value = ptr(v); return p.c.Forward(r) }
	switch p.name {
	case "pass", "tick":
		return p.c.Forward(r)
	case "dedupe":
		return p.dedupe(r)
	case "counter":
		if r.Key == nil {
			return with("no key")
		}
		old, _, _, err := p.kv.Get(r.Key)
		if err != nil {
			return err
		}
		n := *dec(num(old) + 1)
		if err := p.kv.Put(r.Key, &n, r.Timestamp); err != nil {
			return err
		}
		return with(n)
	case "stamp":
		stamp := topology.Header{Key: "stamp", Value: []byte(*dec(r.Timestamp))}
		r.Headers = append(slices.Clone(r.Headers), stamp)
		r.Timestamp = max(0, r.Timestamp+p.arg(0))
		return p.c.Forward(r)
	case "shiftTs":
		r.Timestamp = max(0, r.Timestamp+p.arg(0))
		return p.c.Forward(r)
	case "twice":
		v := show(r.Value)
		if err := with(v + "#1"); err != nil {
			return err
		}
		return with(v + "#2")
	case "swap":
		r.Key, r.Value = r.Value, r.Key
		return p.c.Forward(r)
	case "headers":
		var b strings.Builder
		for _, h := range r.Headers {
			fmt.Fprintf(&b, "%s=%s;", h.Key, h.Value)
		}
		return with(show(r.Value) + "{" + b.String() + "}")
	case "meta":
		at := "null/-1/-1"
		if m, ok := p.c.Metadata(); ok {
			at = fmt.Sprintf("%s/%d/%d", m.Topic, m.Partition, m.Offset)
		}
		return with(show(r.Value) + "@" + at)
	case "times":
		return with(fmt.Sprintf("%s/%d/%d", show(r.Value), p.c.StreamTime(), p.c.WallTime()))
	case "lookup":
		return with(show(r.Value) + "|" + show(p.find(r.Key)))
	case "failIf":
		if is(r.Value, p.args[0]) {
			return failedOn(p.name + ":" + p.args[0])
		}
		return p.c.Forward(r)
	case "versioned":
		v, err := p.versioned(r)
		if err != nil {
			return err
		}
		return with(v)
	case "punct":
		if r.Key == nil {
			return nil
		}
		return p.kv.Put(r.Key, r.Value, r.Timestamp)
	}
	return unknown("processor", p.name)
}

func (p *proc) dedupe(r topology.Record[str, str]) error {
	if r.Key == nil {
		return p.c.Forward(r)
	}
	old, _, _, err := p.kv.Get(r.Key)
	if err != nil {
		return err
	}
	if (old == nil) == (r.Value == nil) && (old == nil || *old == *r.Value) {
		return nil
	}
	if err := p.kv.Put(r.Key, r.Value, r.Timestamp); err != nil {
		return err
	}
	return p.c.Forward(r)
}

// versioned asks, deletes or puts, and tells what came of it. Kafka Streams' stores do not tell until when a version
// that they found was valid.
func (p *proc) versioned(r topology.Record[str, str]) (string, error) {
	if r.Key == nil {
		return "", failedOn("versioned: no key")
	}
	found := func(v str, ts int64, ok bool, end string) string {
		if !ok {
			return "none"
		}
		return fmt.Sprintf("%s@%d%s", *v, ts, end)
	}
	switch v := show(r.Value); {
	case r.Value != nil && strings.HasPrefix(v, "?"):
		asOf := state.Latest
		if len(v) > 1 {
			asOf = num(ptr(v[1:]))
		}
		got, ts, ok, err := p.past.GetAsOf(r.Key, asOf)
		return found(got, ts, ok, "-open"), err
	case r.Value != nil && strings.HasPrefix(v, "-"):
		old, ts, ok, err := p.past.GetAsOf(r.Key, r.Timestamp)
		if err != nil {
			return "", err
		}
		_, accepted, err := p.past.Delete(r.Key, r.Timestamp)
		if !accepted {
			p.refused()
			return "none", err
		}
		return found(old, ts, ok, ""), err
	}
	latest, accepted, err := p.past.Put(r.Key, r.Value, r.Timestamp)
	switch {
	case err != nil:
		return "", err
	case !accepted:
		p.refused()
		return "refused", nil
	case latest:
		return "open", nil
	}
	version, _, err := p.past.Version(r.Key, r.Timestamp)
	return *dec(version.To), err
}
