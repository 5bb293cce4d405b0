package topology

import (
	"fmt"
	"reflect"
	"slices"

	"thalweg/state"
)

// topicBytesMax is Kafka's limit for the name of a topic; nameBytesMax leaves room for an application's id and what
// the kind of an internal topic adds.
const (
	topicBytesMax = 249
	nameBytesMax  = 200
)

// CheckTopicName tells why no topic can bear the name, or nil.
func CheckTopicName(name string) error { return checkName(name, topicBytesMax) }

// CheckName tells why a name that the user gave for something durable can't be part of a topic's name, or nil.
func CheckName(name string) error { return checkName(name, nameBytesMax) }

func checkName(name string, bytesMax int) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty: what is durable needs a name from you")
	case name == "." || name == "..":
		return fmt.Errorf("name %q: a topic can't be called that", name)
	case len(name) > bytesMax:
		return fmt.Errorf("name %q: it has %d bytes, at most %d are possible", name, len(name), bytesMax)
	}
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("name %q: %q is not possible in it: letters, digits, '.', '_' and '-' are", name, c)
		}
	}
	return nil
}

// check reports what is wrong with single nodes, and between nodes by name.
func check(nodes []*Node) (errs []error) {
	byName := map[string]*Node{}
	for _, n := range nodes {
		if n.Make == nil {
			errs = append(errs, fmt.Errorf("%s: node %q has nothing that makes it", n.Site, n.Name))
		}
		if o := byName[n.Name]; o != nil {
			errs = append(errs, fmt.Errorf("%s: node %q is there already (%s): names are unique", n.Site, n.Name, o.Site))
		}
		byName[n.Name] = n
		for _, err := range n.faults {
			errs = append(errs, fmt.Errorf("%s: node %q: %w", n.Site, n.Name, err))
		}
		errs = append(errs, n.checkBorders()...)
	}
	errs = append(errs, checkStores(nodes)...)
	errs = append(errs, checkGlobals(nodes)...)
	return append(errs, checkRepartitions(nodes)...)
}

func (n *Node) checkBorders() (errs []error) {
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: node %q: %w", n.Site, n.Name, fmt.Errorf(format, args...)))
	}
	switch n.Kind {
	case KindSource:
		if len(n.Topics) == 0 {
			fail("a source reads no topic: name one")
		}
		if n.Reset.Policy > ResetBack || n.Reset.BackMillis < 0 {
			fail("unknown reset %+v: make it with Earliest, Latest, Refuse or Back with a time that is not negative", n.Reset)
		}
		if len(n.parents) > 0 {
			fail("a source has no parents, but %q forwards to it", n.parents[0].Name)
		}
	case KindSink:
		if len(n.children) > 0 {
			fail("a sink has no children, but forwards to %q", n.children[0].Name)
		}
	}
	if n.Kind != KindSource && len(n.parents) == 0 {
		fail("nothing forwards to it")
	}
	topics := n.Topics
	if n.Kind == KindSink && n.Sink != (TopicName{}) {
		topics = []TopicName{n.Sink}
	}
	for _, t := range topics {
		why := CheckTopicName(t.Name)
		if t.Repartition && n.Kind == KindSource {
			continue // its sink is checked, or missing
		}
		if t.Repartition {
			why = CheckName(t.Name)
		}
		if why != nil {
			fail("topic: %w", why)
		}
		if t.Partitions < 0 {
			fail("repartition %q: %d partitions: it takes one or more", t.Name, t.Partitions)
		}
	}
	return errs
}

// checkStores sees that a name stands for one store, and that each store could be.
func checkStores(nodes []*Node) (errs []error) {
	type seen struct {
		store state.Store
		site  string
	}
	byName, names := map[string]seen{}, []string{}
	for _, n := range nodes {
		for _, s := range n.Stores {
			o, ok := byName[s.Name()]
			if !ok {
				byName[s.Name()], names = seen{s, n.Site}, append(names, s.Name())
				continue
			}
			if !sameStore(s, o.store) {
				errs = append(errs, fmt.Errorf("%s: store %q is another store already (%s): give each a name of its own",
					n.Site, s.Name(), o.site))
				continue
			}
			if err := state.Conflict(s, o.store); err != nil {
				errs = append(errs, fmt.Errorf("%s: store %q has other serdes already (%s): %w: name the same ones",
					n.Site, s.Name(), o.site, err))
			}
			byName[s.Name()] = seen{state.Fuller(o.store, s), o.site}
		}
	}
	for _, name := range names {
		if err := byName[name].store.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", byName[name].site, err))
		}
	}
	return errs
}

// checkGlobals sees that what fills global stores stands by itself, and that nobody else opens them.
func checkGlobals(nodes []*Node) (errs []error) {
	stores := map[string]*Node{}
	for _, n := range nodes {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s: node %q: %w", n.Site, n.Name, fmt.Errorf(format, args...)))
		}
		if i := slices.IndexFunc(n.children, func(c *Node) bool { return c.Global != n.Global }); i >= 0 {
			fail("it forwards to %q, but only one of them is global: a topic must lie between them", n.children[i].Name)
		}
		if !n.Global {
			continue
		}
		if n.Kind == KindSink {
			fail("a sink can't be global: each process would write the same records")
		}
		for _, s := range n.Stores {
			stores[s.Name()] = n
			if spec := s.Spec(); spec.Kind != state.KindKeyValue || spec.InMemory || spec.TTL > 0 {
				fail("store %q is global: it must be a key-value store on disk, without a TTL", s.Name())
			}
		}
	}
	for _, n := range nodes {
		for _, s := range n.Stores {
			if g := stores[s.Name()]; g != nil && !n.Global {
				errs = append(errs, fmt.Errorf("%s: node %q: store %q is global (%s): every node may read it, with "+
					"Read(context.Globals()), and none is connected to it", n.Site, n.Name, s.Name(), g.Site))
			}
		}
	}
	return errs
}

// sameStore tells whether two names stand for one store. What an operator needs of a store (how long it keeps windows,
// and of which size) may stand on one of them alone.
func sameStore(a, b state.Store) bool {
	x, y := a.Spec(), b.Spec()
	if x.Retention == 0 || y.Retention == 0 {
		x.Retention, y.Retention = 0, 0
	}
	if x.WindowSize == 0 || y.WindowSize == 0 {
		x.WindowSize, y.WindowSize = 0, 0
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.DeepEqual(x, y)
}

// checkRepartitions sees that an internal topic means one thing: one sink writes it, and it is read.
func checkRepartitions(nodes []*Node) (errs []error) {
	written, read := map[string]*Node{}, map[string]*Node{}
	for _, n := range nodes {
		for _, t := range n.Topics {
			if t.Repartition {
				read[t.Name] = n
			}
		}
	}
	for _, n := range nodes {
		if n.Kind != KindSink || !n.Sink.Repartition {
			continue
		}
		name := n.Sink.Name
		if o := written[name]; o != nil {
			errs = append(errs, fmt.Errorf("%s: repartition %q is there already (%s): give each a name of its own, or use "+
				"the stream that the first one returned", n.Site, name, o.Site))
		}
		written[name] = n
		if read[name] == nil {
			errs = append(errs, fmt.Errorf("%s: repartition %q is written but not read", n.Site, name))
		}
	}
	for _, n := range nodes {
		for _, t := range n.Topics {
			if t.Repartition && written[t.Name] == nil {
				errs = append(errs, fmt.Errorf("%s: repartition %q is read but not written", n.Site, t.Name))
			}
		}
	}
	return errs
}

// checkTopics sees that topics which must have equal partition counts do not ask for different ones.
func (t *Topology) checkTopics() (errs []error) {
	for _, s := range t.subs {
		for _, group := range s.Copartitioned {
			first := slices.IndexFunc(group, func(t TopicName) bool { return t.Partitions > 0 })
			if first < 0 {
				continue
			}
			for _, o := range group[first+1:] {
				if o.Partitions > 0 && o.Partitions != group[first].Partitions {
					errs = append(errs, fmt.Errorf("%s: repartition %q has %d partitions, but %q (%s) has %d: records that "+
						"meet by key need equal partition counts", s.site(o), o.Name, o.Partitions, group[first].Name,
						s.site(group[first]), group[first].Partitions))
				}
			}
		}
	}
	return errs
}

// site is where the source of a topic was made.
func (s *Subtopology) site(t TopicName) string {
	for _, n := range s.Nodes {
		if slices.Contains(n.Topics, t) {
			return n.Site
		}
	}
	return "?"
}
