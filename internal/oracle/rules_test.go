package oracle

import (
	"slices"
	"strings"
)

// rules are the differences from Kafka Streams that are deliberate, each with what tells the scenarios in which it may
// show. docs/semantics.md has the reasons. A scenario that differs is listed by the first rule that fits, and then must
// be equal to what a Kafka Streams without the defect makes of it: see seconds.
var rules = []struct {
	name string
	fits func(*scenario) bool
}{
	{"initialOld", initialOld},
	{"slidingOld", slidingOld},
	{"emptyForeign", emptyForeign},
	{"cachedExpired", cachedExpired},
	{"acceptedExpired", acceptedExpired},
	{"cachedDeletion", cachedDeletion},
	{"forgottenDeletion", forgottenDeletion},
	{"tiedPunctuations", tiedPunctuations},
	{"cachedOrigin", cachedOrigin},
	{"suppressedOld", suppressedOld},
	{"graceNullKey", graceNullKey},
	{"versionedAggregate", versionedAggregate},
	{"sharedSides", sharedSides},
}

// loose are the rules of differences of which no Kafka Streams is at hand that does not have them. Scenarios that only
// they list are not compared again.
var loose = []string{"forgottenDeletion", "cachedOrigin", "suppressedOld", "versionedAggregate", "sharedSides"}

// rulesFor names the first rule by which a scenario may differ, and the first loose one; empty: none.
func rulesFor(s *scenario) (rule, unchecked string) {
	for _, r := range rules {
		switch {
		case !r.fits(s):
		case slices.Contains(loose, r.name) && unchecked == "":
			unchecked = r.name
		case rule == "":
			rule = r.name
		}
	}
	return rule, unchecked
}

// sharedSides finds a join of two tables that read the same rows: one change of a row comes to it from both sides. In
// Kafka Streams both meet the new row, so an inner join never deletes and old rows are no rows that were told. Here the
// first is the change of both sides. The tests of package stream compare it with a model.
func sharedSides(s *scenario) bool {
	reads := map[string][]string{} // the nodes whose stores a table is read from
	stems := map[string][]string{} // the tables that a table is made of
	for _, n := range s.Nodes {
		var of, from []string
		for i, in := range n.In {
			if n.Op == "joinTables" && n.Store != nil && i > 0 && slices.ContainsFunc(stems[in], func(id string) bool {
				return slices.Contains(from, id)
			}) {
				return true // kept: the old row is the one that was told, and there the one of the new row's other side
			}
			shared := slices.ContainsFunc(reads[in], func(id string) bool { return slices.Contains(of, id) })
			if n.Op == "joinTables" && shared {
				return true
			}
			of = append(of, reads[in]...)
			from = append(from, stems[in]...)
		}
		reads[n.ID], stems[n.ID] = []string{n.ID}, []string{n.ID}
		switch n.Op {
		case "filter", "filterNot", "mapValues", "transformValues", "joinTables", "suppress":
			stems[n.ID] = from
			if n.Store == nil {
				reads[n.ID] = of
			}
		}
	}
	return false
}

// initialOld: Kafka Streams takes the initial value of an aggregate for an old row. It never was one.
func initialOld(s *scenario) bool { return slices.Contains(s.Expect.Sensitive, "initialOld") }

// slidingOld finds sliding windows with something behind them that looks at old rows: in Kafka Streams the old row of
// a new window is what the window was made of, which is another one's, and a window that one record writes twice has
// none the second time. Here it is what the store has.
func slidingOld(s *scenario) bool {
	return s.Config.Cache != "on" && looksAtOld(s, func(n node) bool {
		return n.Window != nil && n.Window.Type == "sliding"
	})
}

// looksAtOld finds a table with something behind it that looks at old rows.
func looksAtOld(s *scenario, table func(node) bool) bool {
	behind := map[string]bool{}
	found := false
	for _, n := range s.Nodes {
		held := slices.ContainsFunc(n.In, func(in string) bool { return behind[in] })
		switch n.Op {
		case "filter", "filterNot", "groupTable", "joinTables", "fkJoin", "suppress":
			found = found || held
		case "toStream":
			held = false
		}
		behind[n.ID] = held || table(n)
	}
	return found
}

// acceptedExpired finds sessions, sliding windows, windows of several inputs: Kafka Streams accepts records for some
// that its store has given up, or that have to meet others which it has given up, and forgets what it makes of them.
// Here what is accepted is kept.
func acceptedExpired(s *scenario) bool {
	return slices.ContainsFunc(s.Nodes, func(n node) bool {
		return n.Window != nil && (n.Window.Type == "session" || n.Window.Type == "sliding" || n.Op == "cogroup")
	})
}

// cachedDeletion finds aggregations with a cache that may delete a row: in Kafka Streams the deletion has the time of
// the record then, and that of the row without a cache. Here it makes no difference.
func cachedDeletion(s *scenario) bool {
	return s.Config.Cache == "on" && slices.ContainsFunc(s.Nodes, func(n node) bool {
		return n.Op == "reduce" || n.Op == "aggregate" || n.Op == "cogroup"
	})
}

// emptyForeign finds a foreign-key join that meets an empty row on its right-hand side: Kafka Streams takes it for
// none, since its wire format says null by having no bytes. Here null and empty differ.
func emptyForeign(s *scenario) bool {
	topics, byID := map[string]bool{}, map[string]node{}
	for _, n := range s.Nodes {
		byID[n.ID] = n
		if n.Op == "fkJoin" {
			topics[byID[n.In[1]].Topic] = true
		}
	}
	return slices.ContainsFunc(s.Input, func(in input) bool {
		return in.Topic != "" && topics[in.Topic] && is(in.Value, "")
	})
}

// cachedExpired finds windows and sessions with caches: in Kafka Streams a cache goes on showing windows that the store
// below has expired, so late records and joins meet what is gone without a cache. Here it makes no difference.
func cachedExpired(s *scenario) bool {
	return s.Config.Cache == "on" && slices.ContainsFunc(s.Nodes, func(n node) bool { return n.Window != nil })
}

// forgottenDeletion finds a row of a versioned table that is deleted at the very time at which it was put: Kafka
// Streams then knows nothing of the key any more, and takes an older record that comes after it for the newest. Here a
// deletion is remembered like any other version.
func forgottenDeletion(s *scenario) bool {
	topics := map[string]bool{}
	for _, n := range s.Nodes {
		if n.Store != nil && n.Store.VersionedMs > 0 {
			topics[n.Topic] = true
		}
	}
	type row struct {
		topic, key string
		ts         int64
	}
	put := map[row]bool{}
	for _, in := range s.Input {
		if in.Key == nil || !topics[in.Topic] {
			continue
		}
		at := row{in.Topic, *in.Key, in.TS}
		if in.Value == nil && put[at] {
			return true
		}
		put[at] = in.Value != nil
	}
	return false
}

// tiedPunctuations finds two processors that punctuate by the same clock, one downstream of the other: which of them is
// first where both are due at once follows in Kafka Streams from how its heap lies. Here it is the upstream one.
func tiedPunctuations(s *scenario) bool {
	clocks := map[string]string{} // of the punctuations upstream of a node or at it
	for _, n := range s.Nodes {
		above := ""
		for _, in := range n.In {
			above += clocks[in]
		}
		parts := strings.Split(n.Proc, ":")
		if len(parts) > 1 && (parts[0] == "punct" || parts[0] == "tick") {
			if strings.Contains(above, parts[1]) {
				return true
			}
			above += parts[1]
		}
		clocks[n.ID] = above
		for _, b := range n.Branches {
			clocks[b.ID] = above
		}
		if n.Default != "" {
			clocks[n.Default] = above
		}
	}
	return false
}

// cachedOrigin finds scenarios that look at the headers or the offset of what a cache tells: in Kafka Streams it has
// those of the last record that changed the row. Here what is told with a commit has none: it may come of many records.
func cachedOrigin(s *scenario) bool {
	return s.Config.Cache == "on" && (s.Config.Headers || slices.ContainsFunc(s.Nodes, func(n node) bool {
		return n.Proc == "meta" || n.Proc == "headers"
	}))
}

// suppressedOld finds a suppression with something behind it that looks at old rows: Kafka Streams gives as the old row
// the one before the last change that it held back, which nobody downstream has seen. Here it is what went on before.
func suppressedOld(s *scenario) bool {
	return looksAtOld(s, func(n node) bool { return n.Op == "suppress" })
}

// graceNullKey finds a left join with grace, in which Kafka Streams fails at a null key. Here the record joins nothing.
func graceNullKey(s *scenario) bool {
	keyless := s.Expect.Error != nil || slices.ContainsFunc(s.Input, func(in input) bool {
		return in.Topic != "" && in.Key == nil
	})
	return keyless && slices.ContainsFunc(s.Nodes, func(n node) bool {
		return n.Op == "joinStreamTable" && n.Type == "left" && n.Grace != nil
	})
}

// versionedAggregate finds an aggregation that is kept in a versioned store: Kafka Streams then leaves out what the
// store's history does not take. Here the history lies beside the aggregate, which has all records.
func versionedAggregate(s *scenario) bool {
	ops := []string{"count", "reduce", "aggregate", "cogroup"}
	return slices.ContainsFunc(s.Nodes, func(n node) bool {
		return n.Store != nil && n.Store.VersionedMs > 0 && slices.Contains(ops, n.Op)
	})
}
