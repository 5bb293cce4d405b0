package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// Topics and stores of the programs.
var (
	ins       = stream.NewTopic[string, string]("ins")
	more      = stream.NewTopic[string, string]("more")
	outs      = stream.NewTopic[string, string]("outs")
	counts    = stream.NewTopic[string, int64]("outs")
	byKey     = state.NewKV[string, int64]("by-key")
	byWindow  = state.NewWindowed[string, int64]("by-window")
	latest    = state.NewKV[string, string]("latest")
	collected = state.NewKV[string, string]("collected")
)

// program is a topology with a naive model of it.
type program struct {
	name   string
	inputs []string
	topo   func(*stream.Builder)
	// tasks is how many tasks there are for a partition.
	tasks int
	// grows tells that partitions may be added to its input.
	grows bool
	// purges tells that it has repartition topics, whose records it deletes.
	purges bool
	// compare says how the outputs differ from what the model makes of the inputs; nil: they do not.
	compare func(in map[string][]record, out []record, exact bool) error
	// rows are the store's rows in a process; nil: there is no store. rowsOf is what the model says they are.
	rows   func(*runtime.App) (map[string]string, error)
	rowsOf func(in map[string][]record) map[string]string
}

func (p *program) build() *topology.Topology {
	b := stream.NewBuilder()
	p.topo(b)
	topo, err := b.Build()
	if err != nil {
		panic(err)
	}
	return topo
}

// record is one of a topic, in the order of its partition.
type record struct {
	partition int32
	key       string
	value     []byte
	at        int64
}

var programs = []*program{
	{
		name: "stateless", inputs: []string{"ins"}, tasks: 1, grows: true,
		topo: func(b *stream.Builder) {
			b.Stream(ins).MapValues(func(v string) string { return v + "!" }).To(outs)
		},
		compare: func(in map[string][]record, out []record, exact bool) error {
			return sameRecords(in["ins"], out, exact, func(v string) string { return v + "!" })
		},
	},
	{
		name: "count", inputs: []string{"ins"}, tasks: 1,
		topo: func(b *stream.Builder) { b.Stream(ins).GroupByKey().Count(byKey).ToStream().To(counts) },
		compare: func(in map[string][]record, out []record, exact bool) error {
			return sameCounts(countBy(in["ins"], record.byKey), out, exact)
		},
		rows:   kvRows,
		rowsOf: func(in map[string][]record) map[string]string { return asRows(countBy(in["ins"], record.byKey)) },
	},
	{
		name: "windows", inputs: []string{"ins"}, tasks: 1,
		topo: func(b *stream.Builder) {
			b.Stream(ins).GroupByKey().Windowed(stream.Tumbling(windowSize, 24*time.Hour)).Count(byWindow).
				ToStream(func(k string, s stream.Span) string { return windowName(k, s.Start) }).To(counts)
		},
		compare: func(in map[string][]record, out []record, exact bool) error {
			return sameCounts(countBy(in["ins"], record.byWindow), out, exact)
		},
		rows:   windowRows,
		rowsOf: func(in map[string][]record) map[string]string { return asRows(countBy(in["ins"], record.byWindow)) },
	},
	{
		name: "join", inputs: []string{"ins", "more"}, tasks: 1,
		topo: func(b *stream.Builder) {
			table := b.Table(more, latest)
			b.Stream(ins).LeftJoinTable(table, func(v string, row *string) string {
				if row == nil {
					return v + "|"
				}
				return v + "|" + *row
			}).To(outs)
		},
		compare: sameJoin,
		rows:    latestRows,
		rowsOf: func(in map[string][]record) map[string]string {
			rows := map[string]string{}
			for _, r := range in["more"] {
				rows[r.key] = string(r.value)
			}
			return rows
		},
	},
	{
		name: "merge", inputs: []string{"ins", "more"}, tasks: 2, purges: true,
		topo: func(b *stream.Builder) {
			b.Stream(ins).Merge(b.Stream(more)).
				GroupBy("digits", func(_, v string) string { return lastDigit(v) }).
				Count(byKey).ToStream().To(counts)
		},
		compare: func(in map[string][]record, out []record, exact bool) error {
			return sameCounts(countBy(append(append([]record{}, in["ins"]...), in["more"]...), record.byDigit), out, exact)
		},
		rows: kvRows,
		rowsOf: func(in map[string][]record) map[string]string {
			return asRows(countBy(append(append([]record{}, in["ins"]...), in["more"]...), record.byDigit))
		},
	},
	{
		name: "collector", inputs: []string{"ins"}, tasks: 1,
		topo: func(b *stream.Builder) {
			b.Stream(ins).Process(func() *collector { return &collector{} }, collected).To(outs)
		},
		compare: func(in map[string][]record, out []record, exact bool) error {
			return sameRecords(in["ins"], out, exact, func(v string) string { return v })
		},
		rows:   collectedRows,
		rowsOf: func(map[string][]record) map[string]string { return map[string]string{} },
	},
}

const windowSize = 5 * time.Second

func windowName(key string, start int64) string { return key + "@" + strconv.FormatInt(start, 10) }

func lastDigit(v string) string { return v[len(v)-1:] }

func (r record) byKey() string { return r.key }

func (r record) byDigit() string { return lastDigit(string(r.value)) }

func (r record) byWindow() string {
	return windowName(r.key, r.at-r.at%windowSize.Milliseconds())
}

// collector keeps records, and sends them on every now and then, whatever its input does.
type collector struct {
	c     *topology.Context[string, string]
	store *state.KVStore[string, string]
}

func (p *collector) Init(c *topology.Context[string, string]) (err error) {
	p.c = c
	if p.store, err = collected.Open(c); err != nil {
		return err
	}
	_, err = c.Schedule(time.Second, topology.WallClock, p.send)
	return err
}

func (p *collector) Process(r topology.Record[string, string]) error {
	return p.store.Put(r.Value+" "+r.Key, r.Value, r.Timestamp)
}

func (p *collector) send(int64) error {
	var due []topology.Record[string, string]
	for e, err := range p.store.All() {
		if err != nil {
			return err
		}
		_, key, _ := strings.Cut(e.Key, " ")
		due = append(due, topology.Record[string, string]{Key: key, Value: e.Value, Timestamp: e.Timestamp})
	}
	for _, r := range due {
		if err := p.c.Forward(r); err != nil {
			return err
		}
		if err := p.store.Delete(r.Value+" "+r.Key, r.Timestamp); err != nil {
			return err
		}
	}
	return nil
}

func countBy(in []record, key func(record) string) map[string]int64 {
	n := map[string]int64{}
	for _, r := range in {
		n[key(r)]++
	}
	return n
}

func asRows(n map[string]int64) map[string]string {
	rows := map[string]string{}
	for k, v := range n {
		rows[k] = strconv.FormatInt(v, 10)
	}
	return rows
}

func kvRows(app *runtime.App) (map[string]string, error) {
	rows := map[string]string{}
	view, err := app.View(byKey)
	if err != nil {
		return nil, err
	}
	for e, err := range byKey.Read(view.Here()).All() {
		if err != nil {
			return nil, errors.Join(err, view.Close())
		}
		rows[e.Key] = strconv.FormatInt(e.Value, 10)
	}
	return rows, view.Close()
}

func latestRows(app *runtime.App) (map[string]string, error)    { return stringRows(app, latest) }
func collectedRows(app *runtime.App) (map[string]string, error) { return stringRows(app, collected) }

func stringRows(app *runtime.App, store state.KV[string, string]) (map[string]string, error) {
	rows := map[string]string{}
	view, err := app.View(store)
	if err != nil {
		return nil, err
	}
	for e, err := range store.Read(view.Here()).All() {
		if err != nil {
			return nil, errors.Join(err, view.Close())
		}
		rows[e.Key] = e.Value
	}
	return rows, view.Close()
}

func windowRows(app *runtime.App) (map[string]string, error) {
	rows := map[string]string{}
	view, err := app.View(byWindow)
	if err != nil {
		return nil, err
	}
	for e, err := range byWindow.Read(view.Here()).All(0, 1<<62) {
		if err != nil {
			return nil, errors.Join(err, view.Close())
		}
		rows[windowName(e.Key, e.Start)] = strconv.FormatInt(e.Value, 10)
	}
	return rows, view.Close()
}

// sameRecords compares outputs that are one for each input.
func sameRecords(in, out []record, exact bool, f func(string) string) error {
	want, got := map[string][]string{}, map[string][]string{}
	for _, r := range in {
		want[r.key] = append(want[r.key], f(string(r.value)))
	}
	for _, r := range out {
		got[r.key] = append(got[r.key], string(r.value))
	}
	return sameLists(want, got, exact)
}

func sameLists(want, got map[string][]string, exact bool) error {
	var errs []error
	for key, list := range want {
		if exact {
			if w, g := strings.Join(list, " "), strings.Join(got[key], " "); w != g {
				errs = append(errs, fmt.Errorf("key %s: %s", key, difference(list, got[key])))
			}
			continue
		}
		has := map[string]bool{}
		for _, v := range got[key] {
			has[v] = true
		}
		for _, v := range list {
			if !has[v] {
				errs = append(errs, fmt.Errorf("key %s: %s is lost", key, v))
			}
		}
	}
	for key := range got {
		if want[key] == nil {
			errs = append(errs, fmt.Errorf("key %s: there is no such input", key))
		}
	}
	return errors.Join(errs...)
}

func difference(want, got []string) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	return fmt.Sprintf("%d records, want %d; from the %dth on %v, want %v", len(got), len(want), i,
		got[i:min(len(got), i+5)], want[i:min(len(want), i+5)])
}

// sameCounts compares outputs that count: each key's grow until they are right.
func sameCounts(want map[string]int64, out []record, exact bool) error {
	var errs []error
	last := map[string]int64{}
	for _, r := range out {
		n, err := serde.For[int64]().Decode(r.value)
		if err != nil {
			return err
		}
		if exact && n <= last[r.key] {
			errs = append(errs, fmt.Errorf("key %s: %d follows %d", r.key, n, last[r.key]))
		}
		last[r.key] = max(last[r.key], n)
	}
	for key, n := range want {
		if last[key] < n || exact && last[key] != n {
			errs = append(errs, fmt.Errorf("key %s: %d are counted, want %d", key, last[key], n))
		}
	}
	for key := range last {
		if want[key] == 0 {
			errs = append(errs, fmt.Errorf("key %s: there is no such input", key))
		}
	}
	return errors.Join(errs...)
}

// sameJoin compares the left sides, and checks that the rows on the right never get older.
func sameJoin(in map[string][]record, out []record, exact bool) error {
	want, got := map[string][]string{}, map[string][]string{}
	for _, r := range in["ins"] {
		want[r.key] = append(want[r.key], string(r.value))
	}
	var errs []error
	row := map[string]string{}
	for _, r := range out {
		v, right, _ := strings.Cut(string(r.value), "|")
		got[r.key] = append(got[r.key], v)
		if exact && right < row[r.key] {
			errs = append(errs, fmt.Errorf("key %s: %s is joined with %q after others were with %q", r.key, v, right,
				row[r.key]))
		}
		row[r.key] = right
	}
	return errors.Join(append(errs, sameLists(want, got, exact))...)
}
