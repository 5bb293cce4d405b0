package origin

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/progress"
	"thalweg/state"
)

var (
	place   = Place{Application: "app", Directory: "state/app", Brokers: "k1:9092"}
	thisID  = [16]byte{1}
	otherID = [16]byte{2}
)

// kept is a copy that fits: offset 50 of a changelog that holds 0 to 100.
func kept() Local {
	o := state.Origin{
		Kind: state.KindKeyValue, Format: state.FormatVersion, Filling: state.FromChangelog,
		Topic: "app-rows-changelog", TopicID: thisID, Cluster: "here", Application: "app",
	}
	return Local{
		Place: place, Store: "rows", Task: "0_3",
		Saved: state.Saved{Offset: 50, Known: true, Named: true, Rows: true, Origin: o},
		Now:   o, First: 0, End: 100, Begun: true,
	}
}

// lost is a store without a copy.
func lost() Local {
	l := kept()
	l.Saved = state.Saved{}
	return l
}

func with[T any](v T, changes ...func(*T)) T {
	for _, change := range changes {
		change(&v)
	}
	return v
}

var (
	numbers = state.Formats{Keys: "string", Values: "int64"}
	texts   = state.Formats{Keys: "string", Values: "string"}
)

// renamed is what another name comes to.
const renamed = "another name, under which it starts empty at the committed offsets"

func fresh(l *Local) { l.Begun = false }

// a row of the table in the decision record: what differs, and what is done under each guarantee.
type row struct {
	name                   string
	verdict                func(exactlyOnce bool) Verdict
	exactlyOnce, leastOnce Action
	says                   []string
}

func local(name string, l Local, both Action, says ...string) row {
	return row{name, func(exactlyOnce bool) Verdict {
		l.ExactlyOnce = exactlyOnce
		return CompareLocal(l)
	}, both, both, says}
}

func both(name string, v Verdict, both Action, says ...string) row {
	return row{name, func(bool) Verdict { return v }, both, both, says}
}

func locals() []row {
	rows := []row{
		local("up to date", with(kept(), func(l *Local) { l.Saved.Offset = 100 }), Silent),
		local("behind its topic", kept(), Restore),
		local("topic id not known (an old broker)", with(kept(), func(l *Local) { l.Now.TopicID = [16]byte{} }), Restore),
		local("written by an older build", with(kept(), func(l *Local) {
			l.Saved.Named, l.Saved.Origin = false, state.Origin{}
		}), Log, "older build", "app-rows-changelog"),
		local("store never seen, empty changelog", with(lost(), func(l *Local) { l.End = 0 }), Silent),
		local("directory lost, changelog intact", lost(), Restore),
		local("directory lost, changelog cut", with(lost(), func(l *Local) { l.First = 10 }), Refuse,
			"app-rows-changelog", "cut", "10", "topics delete app-progress -brokers k1:9092", "Client.Reset",
			"remove state/app"),
		local("directory lost, changelog cut, and the application knows", with(lost(), func(l *Local) {
			l.First, l.Accepted = 10, 10
		}), Restore),
		local("directory lost, changelog cut, nothing committed", with(lost(), func(l *Local) { l.First = 10 }, fresh), Log,
			"cut"),
		local("directory lost, changelog purged", with(lost(), purged, func(l *Local) { l.First = 10 }), Restore),
		local("directory lost, changelog cut beyond the purge", with(lost(), purged, func(l *Local) { l.First = 11 }),
			Refuse, "cut", "begins at 11", "before 10", "topics delete app-progress -brokers k1:9092", "Client.Reset"),
		local("directory lost, changelog cut beyond the purge, nothing committed", with(lost(), purged, fresh,
			func(l *Local) { l.First = 11 }), Log, "begins at 11", "before 10"),
		local("directory lost, changelog expires by a clock", with(lost(), purged, clock, func(l *Local) { l.First = 11 }),
			Log, "begins at 11", "before 10", "retention.ms=90000000"),
		local("changelog cut above the position", with(kept(), func(l *Local) { l.First = 60 }), Refuse, "cut", "60",
			"state drop state/app rows -task 0_3", "topics delete app-progress"),
		local("changelog cut above the position, nothing committed", with(kept(), func(l *Local) {
			l.First = 60
		}, fresh), Wipe),
		local("changelog cut above the position, and the application knows", with(kept(), func(l *Local) {
			l.First, l.Accepted = 60, 60
		}), Wipe, "60"),
		local("changelog purged above the position", with(kept(), purged, func(l *Local) { l.First, l.Accepted = 60, 60 }),
			Wipe, "60"),
		local("changelog cut above the position, beyond the purge", with(kept(), purged, func(l *Local) { l.First = 60 }),
			Refuse, "cut", "begins at 60", "before 10", "state drop state/app rows -task 0_3", "topics delete app-progress"),
		local("changelog expired above the position by a clock", with(kept(), purged, clock, func(l *Local) {
			l.First = 60
		}), Wipe, "50", "60", "retention.ms=90000000"),
		local("changelog purged below the position", with(kept(), purged, func(l *Local) { l.First = 10 }), Restore),
		local("changelog cut below the position, beyond the purge", with(kept(), purged, func(l *Local) { l.First = 11 }),
			Log, "cut", "complete", "before 10"),
		local("changelog cut, and the copy is not to be used", with(kept(), func(l *Local) { l.First, l.Old = 10, true }),
			Refuse, "deletions", "cut", "state drop state/app rows -task 0_3", "topics delete app-progress"),
		local("changelog cut below the position", with(kept(), func(l *Local) { l.First = 10 }), Log, "cut", "complete"),
		local("changelog emptied", with(kept(), func(l *Local) { l.End = 0 }), Refuse, "empty",
			"state drop state/app rows -task 0_3", "topics delete app-progress"),
		local("changelog emptied, nothing committed", with(kept(), func(l *Local) { l.End = 0 }, fresh), Wipe),
		local("changelog recreated, and the application knows", with(kept(), func(l *Local) {
			l.Now.TopicID = otherID
		}), Wipe, ID(thisID), ID(otherID)),
		local("another cluster", with(kept(), func(l *Local) { l.Now.Cluster, l.Now.TopicID = "there", otherID }), Wipe,
			"here", "there"),
		local("another cluster, its changelog empty", with(kept(), func(l *Local) {
			l.Now.Cluster, l.Now.TopicID, l.End = "there", otherID, 0
		}), Refuse, "here", "there", "copy to the topic", "-task 0_3", "app-progress"),
		local("another application", with(kept(), func(l *Local) { l.Now.Application = "other" }), Refuse, "app", "other",
			"remove state/app"),
		local("another kind", with(kept(), func(l *Local) { l.Now.Kind = state.KindWindow }), Refuse, "key-value", "window",
			renamed, "state drop state/app rows`", "topics delete app-rows-changelog app-progress"),
		local("another kind, and the application knows", with(kept(), func(l *Local) {
			l.Now.Kind, l.Now.TopicID = state.KindWindow, otherID
		}), Wipe, "key-value", "window"),
		local("another kind, of a volatile store", with(kept(), func(l *Local) {
			l.Saved.Known, l.Saved.Origin.Filling, l.Saved.Origin.Topic = false, state.FromNothing, ""
			l.Now.Filling, l.Now.Topic, l.Now.Kind = state.FromNothing, "", state.KindWindow
		}), Refuse, renamed, "state drop state/app rows`"),
		local("values in another format", with(kept(), func(l *Local) {
			l.Saved.Origin.Formats, l.Now.Formats = numbers, texts
		}), Refuse, "values written as int64", "values written as string", renamed,
			"state drop state/app rows`", "topics delete app-rows-changelog app-progress"),
		local("values in another format, and the application knows", with(kept(), func(l *Local) {
			l.Saved.Origin.Formats, l.Now.Formats, l.Now.TopicID = numbers, texts, otherID
		}), Wipe, "values written as int64", "values written as string"),
		local("values in another format, of a volatile store", with(kept(), volatile, func(l *Local) {
			l.Saved.Known, l.Saved.Origin.Filling, l.Saved.Origin.Topic = false, state.FromNothing, ""
			l.Saved.Origin.Formats, l.Now.Formats = numbers, texts
		}), Refuse, "volatile", renamed, "state drop state/app rows`"),
		local("values in a format that has no name", with(kept(), func(l *Local) {
			l.Saved.Origin.Formats.Keys, l.Now.Formats.Values = "string", "string"
		}), Restore),
		local("another version of the rows", with(kept(), func(l *Local) { l.Now.Format++ }), Wipe, "version"),
		local("not kept up for long", with(kept(), func(l *Local) { l.Old = true }), Wipe, "deletions"),
		local("rows without a position", with(lost(), func(l *Local) { l.Saved.Rows = true }), Wipe, "not known"),
		local("was a changelog, is an input", with(kept(), func(l *Local) {
			l.Now.Filling, l.Now.Topic, l.Now.TopicID = state.FromInput, "in", otherID
		}), Wipe, "app-rows-changelog", "in"),
		local("was an input, is a changelog", with(kept(), func(l *Local) {
			l.Saved.Origin.Filling, l.Saved.Origin.Topic, l.Saved.Origin.TopicID = state.FromInput, "in", otherID
		}), Wipe, "app-rows-changelog", "in"),
		local("was volatile, has a changelog", with(kept(), func(l *Local) {
			l.Saved.Known, l.Saved.Origin.Filling, l.Saved.Origin.Topic = false, state.FromNothing, ""
		}), Wipe, "app-rows-changelog"),
		local("volatile, no rows", with(lost(), volatile), Log, "rows", "no rows", "committed offsets"),
		local("volatile, no rows, nothing committed", with(lost(), volatile, fresh), Silent),
		local("volatile, with rows", with(lost(), volatile, func(l *Local) { l.Saved.Rows = true }), Silent),
		local("had a changelog, is volatile", with(kept(), func(l *Local) {
			l.Now.Filling, l.Now.Topic = state.FromNothing, ""
		}), Log, "volatile"),
		local("values in another format, from an input", with(kept(), func(l *Local) {
			l.Saved.Origin.Filling, l.Now.Filling = state.FromInput, state.FromInput
			l.Saved.Origin.Formats, l.Now.Formats = numbers, texts
		}), Wipe, "values written as int64", "values written as string"),
		local("input recreated, fills a store", with(kept(), func(l *Local) {
			l.Saved.Origin.Filling, l.Now.Filling, l.Now.TopicID = state.FromInput, state.FromInput, otherID
		}), Wipe, ID(thisID), ID(otherID)),
		local("global store, topic recreated", with(kept(), func(l *Local) {
			l.Saved.Known, l.Saved.Origin.Filling, l.Now.Filling = false, state.FromGlobal, state.FromGlobal
			l.Now.TopicID = otherID
		}), Wipe, ID(thisID), ID(otherID)),
	}
	rows = append(rows, inputs()...)
	rows = append(rows, local("global store of another kind", with(kept(), func(l *Local) {
		l.Saved.Known, l.Saved.Origin.Filling, l.Now.Filling = false, state.FromGlobal, state.FromGlobal
		l.Now.Kind = state.KindVersioned
	}), Wipe, "key-value", "versioned"))
	beyond := local("changelog ends below the position", with(kept(), func(l *Local) { l.End = 40 }), Refuse, "40")
	beyond.leastOnce = Wipe
	marker := local("changelog cut to its end, but for the last offset the copy has all", with(kept(), func(l *Local) {
		l.Saved.Offset, l.First, l.Old = 99, 100, true
	}), Log, "cut", "complete")
	marker.leastOnce = Refuse // it is a record
	return append(rows, beyond, marker)
}

// inputs are copies of a store that an input fills, which began at 5 when it did.
func inputs() []row {
	copied, none := with(kept(), reused), with(lost(), reused)
	begins := func(at int64) func(*Local) { return func(l *Local) { l.First = at } }
	knows := func(l *Local) { l.Accepted = l.First }
	ways := func(more ...string) []string {
		return append(more, "store rows", "topic in partition 3", "filled from offset 5 on", "cut",
			"topics delete app-progress -brokers k1:9092", "Client.Reset with \"app\"", "remove state/app on each machine")
	}
	dropped := func(more ...string) []string { return ways(append(more, "state drop state/app rows -task 0_3")...) }
	return []row{
		local("input behind, fills a store", with(copied, func(l *Local) { l.End = 40 }), Wipe, "50", "40"),
		local("directory lost, input intact", none, Restore),
		local("directory lost, input cut", with(none, begins(10)), Refuse, ways("begins at 10")...),
		local("directory lost, input cut, nothing committed", with(none, begins(10), fresh), Log, "5 offsets are gone"),
		local("directory lost, input cut, and the application knows", with(none, begins(10), knows), Restore),
		local("directory lost, input expired", with(none, begins(10), expires), Log, "Store rows", "topic in partition 3",
			"filled from offset 5 of", "begins at 10", "5 offsets are gone (cleanup.policy=compact,delete)",
			"does not have keys without a later record"),
		local("input cut above the position", with(copied, begins(60)), Refuse, dropped("50", "begins at 60")...),
		local("input cut above the position, nothing committed", with(copied, begins(60), fresh), Wipe,
			"55 offsets are gone"),
		local("input cut above the position, and the application knows", with(copied, begins(60), knows), Wipe, "60"),
		local("input expired above the position", with(copied, begins(60), expires), Wipe, "50", "60",
			"55 offsets are gone (cleanup.policy=compact,delete)"),
		local("input cut below the position", with(copied, begins(10)), Log, "cut", "complete", "topic in partition 3"),
		local("input expired below the position", with(copied, begins(10), expires), Restore),
		local("input cut, and the copy is not to be used", with(copied, begins(10), func(l *Local) { l.Old = true }), Refuse,
			dropped("deletions", "begins at 10")...),
		local("input expired, and the copy is not to be used", with(copied, begins(10), expires, func(l *Local) {
			l.Old = true
		}), Wipe, "deletions", "5 offsets are gone"),
	}
}

func reused(l *Local) {
	l.Now.Filling, l.Now.Topic, l.Partition, l.First, l.Accepted = state.FromInput, "in", 3, 5, 5
	if l.Saved.Named {
		l.Saved.Origin.Filling, l.Saved.Origin.Topic = state.FromInput, "in"
	}
}

func expires(l *Local) { l.Expires = "cleanup.policy=compact,delete" }

// purged is for a changelog from which the application has deleted what lay before 10.
func purged(l *Local) {
	l.Saved.Origin.Kind, l.Now.Kind, l.Accepted = state.KindWindow, state.KindWindow, 10
}

func volatile(l *Local) { l.Now.Filling, l.Now.Topic = state.FromNothing, "" }

func clock(l *Local) { l.Expires = "retention.ms=90000000" }

func topic() Topic {
	return Topic{
		Place: place, Name: "app-rows-changelog", Store: "rows", Cluster: "here", ID: thisID, Exists: true,
		Listed: true, ListedID: thisID, ListedCluster: "here", Begun: true,
	}
}

func topics() []row {
	missing := func(t *Topic) { t.Exists, t.ID = false, [16]byte{} }
	unlisted := func(t *Topic) { t.Listed, t.ListedID, t.ListedCluster = false, [16]byte{}, "" }
	return []row{
		both("internal topic as listed", CompareTopic(topic()), Silent),
		both("internal topic to be made", CompareTopic(with(topic(), missing, unlisted)), Silent),
		both("internal topic to be made, nothing listed and offsets committed", CompareTopic(with(topic(), missing, unlisted,
			func(t *Topic) { t.Unnoted = true })), Log, "committed offsets", "Client.Reset with \"app\""),
		both("internal topic to be made, nothing listed or committed", CompareTopic(with(topic(), missing, unlisted,
			func(t *Topic) { t.Unnoted, t.Begun = true, false })), Silent),
		both("internal topic not listed", CompareTopic(with(topic(), unlisted)), Log, "taken over"),
		both("internal topic of another application", CompareTopic(with(topic(), unlisted, func(t *Topic) { t.Owner = "a" })),
			Refuse, "application app", "application a,", "ApplicationID", "Client.Reset with \"a\""),
		both("internal topic deleted", CompareTopic(with(topic(), missing)), Refuse, ID(thisID), "does not exist",
			"state drop state/app rows`", "topics delete app-progress "),
		both("internal topic deleted, nothing committed", CompareTopic(with(topic(), missing, func(t *Topic) {
			t.Begun = false
		})), Log, "from the beginning"),
		both("internal topic recreated", CompareTopic(with(topic(), func(t *Topic) { t.ID = otherID })), Refuse,
			ID(thisID), ID(otherID), "state drop state/app rows`", "topics delete app-rows-changelog app-progress "),
		both("internal topic recreated, nothing committed", CompareTopic(with(topic(), func(t *Topic) {
			t.ID, t.Begun = otherID, false
		})), Log),
		both("internal topic listed in another cluster", CompareTopic(with(topic(), func(t *Topic) {
			t.Cluster, t.ID = "there", otherID
		})), Log, "here", "there"),
	}
}

func store() Store {
	return Store{
		Place: place, Name: "rows", Kind: state.KindKeyValue, Filling: state.FromChangelog,
		Topic: "app-rows-changelog", Exists: true, Rows: true, Listed: true, ListedKind: state.KindKeyValue,
		ListedFilling: state.FromChangelog, ListedTopic: "app-rows-changelog", Begun: true,
	}
}

func stores() []row {
	wasInput := func(s *Store) { s.ListedFilling, s.ListedTopic, s.ListedWhole = state.FromInput, "in", true }
	isInput := func(s *Store) { s.Filling, s.Topic = state.FromInput, "in" }
	volatileBefore := func(s *Store) { s.ListedFilling, s.ListedTopic = state.FromNothing, "" }
	shared := func(s *Store) { s.ListedFilling, s.ListedTopic = state.FromOther, "" }
	empty := func(s *Store) { s.Rows = false }
	missing := func(s *Store) { s.Rows, s.Exists = false, false }
	const refilled = "to fill it again from topic in: "
	scratch := []string{"state drop state/app rows`", "topics delete app-rows-changelog app-progress ", "Client.Reset"}
	return []row{
		both("store as listed", CompareStore(store()), Silent),
		both("store not listed", CompareStore(with(store(), func(s *Store) { s.Listed = false })), Silent),
		both("store of another kind", CompareStore(with(store(), func(s *Store) { s.Kind = state.KindWindow })), Refuse,
			append(scratch, "key-value", "window", "app-rows-changelog", renamed)...),
		both("store of another kind, its changelog deleted", CompareStore(with(store(), func(s *Store) {
			s.Kind, s.Fresh = state.KindWindow, true
		})), Log, "key-value", "window"),
		both("store with values in another format", CompareStore(with(store(), func(s *Store) {
			s.ListedFormats, s.Formats = numbers, texts
		})), Refuse, append(scratch, "values written as int64", "values written as string", "app-rows-changelog",
			renamed)...),
		both("store with values in another format, its changelog deleted", CompareStore(with(store(), func(s *Store) {
			s.ListedFormats, s.Formats, s.Fresh = numbers, texts, true
		})), Log, "values written as int64", "values written as string"),
		both("store with values of another type in the same format", CompareStore(with(store(), func(s *Store) {
			s.ListedFormats.Values, s.Formats.Values = "msgpack main.A", "msgpack main.B"
		})), Log, "msgpack main.A", "msgpack main.B"),
		both("store with values in a format that has no name", CompareStore(with(store(), func(s *Store) {
			s.ListedFormats = numbers
		})), Silent),
		both("Optimize switched on: store from its input", CompareStore(with(store(), isInput)), Log,
			"app-rows-changelog", "in"),
		both("Optimize switched on, the input is cut", CompareStore(with(store(), isInput, func(s *Store) { s.Cut = true })),
			Refuse, "in", "cut", "Client.Reset"),
		both("Optimize switched off, changelog empty", CompareStore(with(store(), wasInput, empty)), Refuse,
			append(scratch, "in", "app-rows-changelog", "ReuseTopics", refilled)...),
		both("Optimize switched off, changelog empty, nothing committed", CompareStore(with(store(), wasInput, empty,
			func(s *Store) { s.Begun = false })), Log),
		both("Optimize switched off, changelog of before", CompareStore(with(store(), wasInput)), Refuse,
			append(scratch, "in", "app-rows-changelog", "Optimize", refilled)...),
		both("its rows were another store's, changelog empty", CompareStore(with(store(), shared, empty)), Refuse,
			"ShareSelfJoins"),
		both("volatile before, changelog of before", CompareStore(with(store(), volatileBefore)), Refuse,
			append(scratch, "Volatile as before")...),
		both("volatile before, changelog empty", CompareStore(with(store(), volatileBefore, missing)), Refuse,
			"Volatile as before", "state drop state/app rows`", "topics delete app-progress "),
		both("volatile before, changelog empty, nothing committed", CompareStore(with(store(), volatileBefore, missing,
			func(s *Store) { s.Begun = false })), Log),
		both("store of another kind, and volatile before", CompareStore(with(store(), volatileBefore, missing,
			func(s *Store) { s.Kind = state.KindWindow })), Refuse, "Volatile as before"),
		both("store of another kind, volatile or from its input", CompareStore(with(store(), isInput, wasInput,
			func(s *Store) { s.Kind = state.KindVersioned })), Log, "key-value", "versioned"),
		both("store is volatile now", CompareStore(with(store(), func(s *Store) {
			s.Filling, s.Topic = state.FromNothing, ""
		})), Log),
	}
}

func others() []row {
	rest := []string{"partition 0: 2 of 9"}
	r := Repartition{Place: place, Topic: "app-two-repartition", ListedForm: "plain", Unread: rest}
	in := []Input{{"in", 0, true, true}, {"in", 1, false, true}, {"more", 1, false, false}}
	return []row{
		both("repartition read as before", CompareRepartition(with(r, func(r *Repartition) {
			r.Read, r.Form = true, "plain"
		})), Silent),
		both("repartition given up, with a rest", CompareRepartition(r), Refuse, "app-two-repartition", "partition 0: 2 of 9",
			"MergeRepartitions", "topics delete app-two-repartition -brokers"),
		both("repartition given up, with a rest, other processes run", CompareRepartition(with(r, func(r *Repartition) {
			r.Others = true
		})), Log, "another process"),
		both("repartition given up, drained", CompareRepartition(with(r, func(r *Repartition) { r.Unread = nil })), Log),
		both("repartition of another form, with a rest", CompareRepartition(with(r, func(r *Repartition) {
			r.Read, r.Form = true, "counts"
		})), Refuse, "plain", "counts", "topics delete app-two-repartition app-progress -brokers"),
		both("input as it was", CompareInput(Recreated{Topic: "in", WasID: thisID, ID: thisID}), Silent),
		both("input recreated, committed offsets there", CompareInput(Recreated{
			Topic: "in", WasID: thisID, ID: otherID, Offsets: map[int32]int64{1: 7, 0: 3}, Application: "app",
		}), Log, "topic in ", ID(thisID), ID(otherID), "app", "partition 0: 3, partition 1: 7"),
		both("input recreated, committed offsets gone", CompareInput(Recreated{
			Topic: "in", WasID: thisID, ID: otherID, WithoutAny: []int32{0, 1},
		}), Log, ID(thisID), ID(otherID), "partitions [0 1]", "reset policy"),
		both("committed offsets there", CompareOffsets(place, "0_0", in[:1], true), Silent),
		both("committed offsets gone, with state", CompareOffsets(place, "0_0", in, true), Refuse, "topic in partition 1",
			"expired", "kafka-consumer-groups", "Client.Reset"),
		both("committed offsets gone, without state", CompareOffsets(place, "0_0", in, false), Log, "topic in partition 1"),
		both("never committed", CompareOffsets(place, "0_0", in[2:], true), Silent),
	}
}

func table() []row {
	return append(append(append(locals(), topics()...), stores()...), others()...)
}

func TestTable(t *testing.T) {
	for _, r := range table() {
		t.Run(r.name, func(t *testing.T) {
			for exactlyOnce, want := range map[bool]Action{true: r.exactlyOnce, false: r.leastOnce} {
				v := r.verdict(exactlyOnce)
				require.Equal(t, want.String(), v.Action.String(), "exactly once: %v: %s", exactlyOnce, v.Text)
				require.Equal(t, want == Refuse, v.Err() != nil)
				if want != Silent && want != Restore {
					require.NotEmpty(t, v.Text)
				}
			}
			for _, part := range r.says {
				require.Contains(t, r.verdict(true).Text, part)
			}
		})
	}
}

// The decision record has the same table.
func TestTableIsTheOneOfTheDecisionRecord(t *testing.T) {
	text, err := os.ReadFile("../../docs/adr/0012-stored-positions-name-their-topic.md")
	require.NoError(t, err)
	var written, tested [][]string
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(strings.TrimSpace(line), "|"); len(cells) == 5 {
			row := []string{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}
			if row[0] != "what differs" && !strings.HasPrefix(row[0], "--") {
				written = append(written, row)
			}
		}
	}
	for _, r := range table() {
		tested = append(tested, []string{r.name, r.exactlyOnce.String(), r.leastOnce.String()})
	}
	require.ElementsMatch(t, tested, written)
}

// Whatever differs, a local copy is never taken for another topic's, cluster's or kind's: a position is used only where
// all of it is the same.
func TestNoPositionOfAnotherTopicIsUsed(t *testing.T) {
	bits := func(n int) (l Local) {
		l = kept()
		on := func(i int) bool { return n>>i&1 == 1 }
		l.Begun, l.Old, l.ExactlyOnce = on(0), on(3), on(4)
		if on(2) {
			clock(&l)
		}
		if on(1) {
			l.Accepted = 60
		}
		if on(5) {
			l.First = 60
		}
		if on(6) {
			l.End = l.First
		}
		return l
	}
	for n := range 1 << 7 {
		for _, change := range []func(*Local){
			func(l *Local) { l.Now.TopicID = otherID },
			func(l *Local) { l.Now.Cluster = "there" },
			func(l *Local) { l.Now.Kind = state.KindWindow },
			func(l *Local) { l.Now.Format++ },
			func(l *Local) { l.Saved.Origin.Formats, l.Now.Formats = numbers, texts },
			func(l *Local) { l.Now.Application = "other" },
			func(l *Local) { l.Saved.Origin.Filling, l.Saved.Origin.Topic = state.FromInput, "in" },
			func(l *Local) { l.Now.Filling, l.Now.Topic = state.FromInput, "in" },
		} {
			v := CompareLocal(with(bits(n), change))
			require.Contains(t, []Action{Wipe, Refuse}, v.Action, "%d: %s", n, v.Text)
		}
	}
}

// What the owner of an input lets expire has no end while the policy has delete. After that it ends where the change is
// seen, and what goes later was cut.
func TestWhatTheOwnerOfAnInputLetsExpire(t *testing.T) {
	for _, c := range []struct {
		was    int64
		policy string
		want   int64
	}{
		{0, "compact", 0},
		{7, "compact", 7},
		{7, "", 7},
		{7, "compact,delete", progress.Endless},
		{0, "delete", progress.Endless},
		{progress.Endless, "", progress.Endless},
		{progress.Endless, "compact", 10},
	} {
		require.Equal(t, c.want, Expired(c.was, c.policy, 10), "%+v", c)
	}
	require.Contains(t, Expiry(0, "compact,delete", 10), "cleanup.policy=compact,delete")
	require.Contains(t, Expiry(0, "", 10), "allow the application to describe the topic")
	require.Contains(t, Expiry(10, "compact", 10), "had delete before")
	require.Empty(t, Expiry(9, "compact", 10))
}

// A topic that is cut while a store is restored from it is judged as at the start.
func TestATopicThatIsCutWhileItIsRead(t *testing.T) {
	cut := func(l *Local) { l.First = 60 }
	for _, c := range []struct {
		l    Local
		want Action
	}{
		{with(kept(), cut), Refuse},
		{with(kept(), cut, clock), Wipe},
		{with(kept(), cut, func(l *Local) { l.Accepted = 60 }), Wipe},
		{with(kept(), reused, cut), Refuse},
		{with(kept(), reused, cut, expires), Wipe},
	} {
		v := Shortened(c.l)
		require.Equal(t, c.want, v.Action, v.Text)
		require.Equal(t, c.want == Wipe && c.l.reused(), strings.Contains(v.Text, "55 offsets are gone"), v.Text)
	}
}
