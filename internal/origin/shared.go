package origin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"thalweg/internal/progress"
	"thalweg/serde"
	"thalweg/state"
)

// Topic is an internal topic, and what the application has listed of it.
type Topic struct {
	Place
	Name    string
	Store   string // whose changelog it is; empty: it is a repartition topic
	Cluster string
	ID      [16]byte // zero: not known, or it does not exist
	Exists  bool

	Listed        bool // by this application, or it has local copies of the topic
	ListedID      [16]byte
	ListedCluster string
	Owner         string // another application that has listed the topic; empty: none has

	Unnoted bool // the application has listed nothing at all: its progress topic is new
	Begun   bool // the application has committed offsets
}

// Fresh tells that the topic is not the one that was listed: it is to be made, or was recreated.
func (t Topic) Fresh() bool { return t.Listed && (!t.Exists || !Same(t.ListedID, t.ID)) }

// CompareTopic decides whether the application goes on with an internal topic.
func CompareTopic(t Topic) Verdict {
	switch {
	case t.Owner != "" && t.Owner != t.Application:
		return verdict(Refuse, "internal topic %s of application %s belongs to application %s, which has a store or a "+
			"repartition of that name: choose another Config.ApplicationID, or rename the store or repartition. Or, if %s is "+
			"not used any more: (1) reset it (Client.Reset with %q), (2) start %s", t.Name, t.Application, t.Owner, t.Owner,
			t.Owner, t.Application)
	case t.Listed && !Same(t.ListedCluster, t.Cluster):
		return verdict(Log, "internal topic %s was listed in cluster %s: the application has moved to cluster %s", t.Name,
			t.ListedCluster, t.Cluster)
	case !t.Listed && t.Exists:
		return verdict(Log, "internal topic %s exists, and the application has not listed it: it is taken over", t.Name)
	case !t.Listed && t.Unnoted && t.Begun:
		return verdict(Log, "internal topic %s is made, though the group has committed offsets: what they have led to is "+
			"not there. If the application ran before, this topic and its progress topic were deleted, and its state is "+
			"lost: to process all records of the inputs again, close all processes and reset the application "+
			"(Client.Reset with %q)", t.Name, t.Application)
	case !t.Fresh():
		return Verdict{}
	case !t.Begun:
		return verdict(Log, "internal topic %s was deleted, and the application starts from the beginning", t.Name)
	}
	what, backup, remove := "it does not exist", "", []string(nil)
	if t.Exists {
		what, remove = "it was recreated with the id "+ID(t.ID), []string{t.Name}
		if t.Store != "" {
			backup = fmt.Sprintf(" (or, where %s has the rows of a backup, all of these steps but its deletion)", t.Name)
		}
	}
	return verdict(Refuse, "internal topic %s of application %s with the id %s was deleted: %s, and the group has "+
		"committed offsets, so what it held is lost. To go on without it%s: %s. Or, %s", t.Name, t.Application,
		ID(t.ListedID), what, backup, t.without(t.Store, nil, remove...), t.again())
}

// Store is what fills a store, and what the application has listed of that.
type Store struct {
	Place
	Name    string
	Kind    state.Kind
	Formats state.Formats
	Filling state.Filling
	Topic   string // that fills it
	Exists  bool   // the topic
	Rows    bool   // the topic has records, or had some
	Cut     bool   // the topic does not begin at 0
	Fresh   bool   // the topic is not the one that was listed

	// Listed tells that the application has listed the store, or has local copies of it, which say what it was.
	Listed        bool
	ListedKind    state.Kind
	ListedFormats state.Formats
	ListedFilling state.Filling
	ListedTopic   string
	ListedWhole   bool // an input filled the store, and still has its first record

	Begun bool
}

// CompareStore decides whether the application goes on with a store.
func CompareStore(s Store) Verdict {
	if !s.Listed {
		return Verdict{}
	}
	filled := s.Filling == s.ListedFilling && s.Topic == s.ListedTopic
	wasRows, nowRows := contents{s.ListedKind, s.ListedFormats}, contents{s.Kind, s.Formats}
	reading := wasRows.read(nowRows)
	if reading == serde.Unreadable && (filled || s.Fresh) {
		if s.Fresh || s.Filling != state.FromChangelog {
			return verdict(Log, "store %s was %s and is %s now", s.Name, wasRows.beside(nowRows), nowRows.beside(wasRows))
		}
		return verdict(Refuse, "store %s of application %s is %s, which topic %s has the rows of, and the program has it as "+
			"%s: %s. %s", s.Name, s.Application, wasRows.beside(nowRows), s.Topic, nowRows.beside(wasRows),
			wasRows.keep(nowRows), s.empty())
	}
	if filled && reading == serde.Doubtful && !s.Fresh {
		return verdict(Log, "store %s was %s and is %s now: if a type has more than a new name, its new form must read the "+
			"rows of the old one", s.Name, wasRows.beside(nowRows), nowRows.beside(wasRows))
	}
	if filled {
		return Verdict{}
	}
	was := fmt.Sprintf("store %s of application %s was filled from %s", s.Name, s.Application, s.ListedFilling)
	if s.ListedTopic != "" {
		was += " (" + s.ListedTopic + ")"
	}
	before := "build the topology as before (Optimize, ReuseTopics, ShareSelfJoins)"
	if s.ListedFilling == state.FromNothing {
		was = fmt.Sprintf("store %s of application %s was volatile, so that its rows are on the disks or in the memory of "+
			"its processes alone, perhaps without the newest", s.Name, s.Application)
		before = "declare it Volatile as before"
	}
	switch {
	case s.Filling == state.FromInput && s.Cut && s.Begun:
		return verdict(Refuse, "%s, and is to be restored from topic %s, which was cut: rows are missing there. Build "+
			"the topology without Optimize(ReuseTopics), as before. Or, %s", was, s.Topic, s.again())
	case s.Filling == state.FromChangelog && s.Rows && !s.Fresh:
		return verdict(Refuse, "%s, and is to be filled from its changelog %s, which has rows of before: %s. %s", was,
			s.Topic, before, s.empty())
	case s.Filling == state.FromChangelog && s.Begun:
		return verdict(Refuse, "%s, and is to be filled from its changelog %s, which does not have its rows: %s. %s", was,
			s.Topic, before, s.empty())
	}
	now := s.Filling.String()
	if s.Topic != "" {
		now += " (" + s.Topic + ")"
	}
	return verdict(Log, "%s, and is filled from %s now", was, now)
}

// empty are the ways out that give the store's rows up, or make them again.
func (s Store) empty() string {
	var remove []string
	if s.Exists {
		remove = []string{s.Topic}
	}
	empty := s.without(s.Name, nil, remove...)
	return fmt.Sprintf("Or, to start it empty at the committed offsets: %s. %sOr, %s", empty, s.refill(remove), s.again())
}

// refill is the way out of a store that an input has filled: the application reads the input again.
func (s Store) refill(remove []string) string {
	if s.ListedFilling != state.FromInput || !s.ListedWhole {
		return ""
	}
	return fmt.Sprintf("Or, where its table is only looked up, as by joins, since aggregations and outputs of it get its "+
		"records a second time, to fill it again from topic %s: %s. ", s.ListedTopic,
		s.steps(s.drop(s.Name), s.delete(append(remove, progress.TopicName(s.Application))...),
			fmt.Sprintf("commit offset 0 for all partitions of topic %s (kafka-consumer-groups --reset-offsets --to-earliest "+
				"--group %s --topic %s --execute)", s.ListedTopic, s.Application, s.ListedTopic)))
}

// Repartition is a repartition topic with records that are not processed.
type Repartition struct {
	Place
	Topic      string
	Read       bool   // by the topology
	Form       string // of its records, and what else they are read for
	ListedForm string
	Unread     []string // partitions with what is not processed: "partition 0: from offset 20 of 100"
	Others     bool     // other processes of the application run, which may read it
}

// CompareRepartition decides about what a topology wrote that was optimized in another way, or has another shape.
func CompareRepartition(r Repartition) Verdict {
	if r.Read && r.Form == r.ListedForm {
		return Verdict{}
	}
	if len(r.Unread) == 0 {
		return verdict(Log, "repartition topic %s is used in another way than before: all that it holds is "+
			"processed", r.Topic)
	}
	if !r.Read && r.Others {
		return verdict(Log, "repartition topic %s holds records that this program does not read (%s): another process of "+
			"the application must", r.Topic, strings.Join(r.Unread, ", "))
	}
	change, remove := "nothing reads it any more", []string{r.Topic}
	if r.Read {
		remove = append(remove, progress.TopicName(r.Application))
		change = fmt.Sprintf("its records were %q, and are read as %q", r.ListedForm, r.Form)
	}
	return verdict(Refuse, "repartition topic %s of application %s holds records that are not processed (%s), and %s: "+
		"run the program as it was (Optimize, MergeRepartitions, CombineCounts) until they are. Or, to give them up: %s",
		r.Topic, r.Application, strings.Join(r.Unread, ", "), change, r.steps(r.delete(remove...)))
}

// Recreated is an input topic that was deleted and recreated since the application committed offsets of it.
type Recreated struct {
	Topic       string
	WasID, ID   [16]byte
	Offsets     map[int32]int64 // that the group has committed
	WithoutAny  []int32         // partitions whose committed offsets are gone
	Late        []int32         // partitions whose committed offsets are of the deleted topic
	Application string
}

// CompareInput says what happens with the offsets of an input. What came of the deleted topic stays.
func CompareInput(r Recreated) Verdict {
	if Same(r.WasID, r.ID) {
		return Verdict{}
	}
	text := fmt.Sprintf("input topic %s with the id %s was deleted, and recreated with the id %s. Stores keep what came "+
		"of the deleted topic", r.Topic, ID(r.WasID), ID(r.ID))
	if len(r.Offsets) > 0 {
		var kept []string
		for _, p := range slices.Sorted(maps.Keys(r.Offsets)) {
			kept = append(kept, fmt.Sprintf("partition %d: %d", p, r.Offsets[p]))
		}
		text += fmt.Sprintf(". Group %s has committed offsets there (%s): it goes on at them, and records before them are "+
			"not processed", r.Application, strings.Join(kept, ", "))
	}
	if len(r.WithoutAny) > 0 {
		text += fmt.Sprintf(". The committed offsets of partitions %v were deleted with it: these start as the source's "+
			"reset policy says", r.WithoutAny)
	}
	if len(r.Late) > 0 {
		text += fmt.Sprintf(". A process of the application has committed offsets of the deleted topic to partitions %v "+
			"after that: these start as the source's reset policy says, too", r.Late)
	}
	return verdict(Log, "%s", text)
}

// Input is an input partition of a task.
type Input struct {
	Topic     string
	Partition int32
	Committed bool // the group has an offset
	Noted     bool // it had one, of the topic as it is
}

func (i Input) String() string { return fmt.Sprintf("topic %s partition %d", i.Topic, i.Partition) }

// CompareOffsets decides about committed offsets that are gone. rows tells that the task has rows which came of the
// records before them.
func CompareOffsets(p Place, task string, inputs []Input, rows bool) Verdict {
	var lost []string
	for _, in := range inputs {
		if in.Noted && !in.Committed {
			lost = append(lost, in.String())
		}
	}
	if len(lost) == 0 {
		return Verdict{}
	}
	slices.Sort(lost)
	if !rows {
		return verdict(Log, "the committed offsets of %s are gone: task %s has no state, and starts as the sources' reset "+
			"policy says", strings.Join(lost, ", "), task)
	}
	return refuse(task, func(...string) string {
		return fmt.Sprintf("They expired, or were deleted, and processing the input again would count it twice. To go on at "+
			"offsets of your choice: %s. Or, %s", p.steps("commit an offset for each of them (kafka-consumer-groups "+
			"--reset-offsets --group "+p.Application+")"), p.again())
	}, "the task has state, but the committed offsets of group %s are gone: %s", p.Application, strings.Join(lost, ", "))
}
