package origin

import (
	"fmt"

	"thalweg/serde"
	"thalweg/state"
)

// Local is the copy of a store on this machine's disk, and what it is compared with.
type Local struct {
	Place
	Store string
	Task  string
	// Partition is that of the task.
	Partition int32
	Saved     state.Saved
	Now       state.Origin // what there is
	// First and End are the offsets of Now.Topic that can be read. For a store that is filled from an input of its task,
	// End is the offset that was committed there.
	First, End int64
	// Begun tells that the application has committed an offset of one of the task's inputs: it has processed records
	// that will not come again.
	Begun bool
	// Accepted is the offset up to which the application knows that the topic lacks records: where a changelog began when
	// the application took it over, or up to where the application itself has deleted what the store has given up. Of an
	// input it is where the input began when the store was filled, or when a restore last went on without the rest.
	Accepted int64
	// Expires are the settings under which the broker itself deletes records that the store has given up, such as
	// "retention.ms=90000000", or that the owner of the input does not want to keep, such as "cleanup.policy=delete".
	// Empty: it deletes none.
	Expires string
	// Old tells that the copy was not kept up for so long that tombstones may be gone from the topic.
	Old         bool
	ExactlyOnce bool
}

// CompareLocal decides what becomes of the copy of a store on disk. None is wiped that its changelog can't restore.
func CompareLocal(l Local) Verdict {
	v := l.compare()
	if v.Action == Wipe && l.Begun && l.cut() && l.Expires == "" {
		return refuse(l.Task, l.withWhatIsLeft, "%s. It can't be restored: %s was cut and begins at %d%s", v.Text, l.topic(),
			l.First, l.known())
	}
	return l.lacking(v)
}

func (l Local) compare() Verdict {
	if l.Saved.Named {
		if v, differs := l.compareOrigin(); differs {
			return v
		}
	}
	switch {
	case l.Now.Filling == state.FromNothing && l.Begun && !l.Saved.Rows:
		return verdict(Log, "volatile store %s has no rows here, and the application has committed offsets: what was in it "+
			"is lost, by a crash for example, or is on another machine. It starts empty at the committed offsets", l.Store)
	case l.Now.Filling == state.FromNothing, l.Now.Filling == state.FromGlobal:
		return Verdict{}
	}
	if !l.Saved.Known {
		return l.compareAbsent()
	}
	if v, differs := l.comparePosition(); differs {
		return v
	}
	switch {
	case !l.Saved.Named:
		return verdict(Log, "the local copy of store %s was written by an older build, which did not note its topic: it is "+
			"taken for a copy of topic %s with the id %s", l.Store, l.Now.Topic, ID(l.Now.TopicID))
	case l.cut() && l.Expires == "":
		return verdict(Log, "the %s of store %s was cut: %s begins at %d%s. The local copy is complete, but no other "+
			"machine can restore the store", l.source(), l.Store, l.topic(), l.First, l.known())
	case l.Saved.Offset < l.End:
		return Verdict{Action: Restore}
	}
	return Verdict{}
}

// compareOrigin compares what the position counts in. What the whole application would lose by another topic, kind or
// filling is decided before (CompareTopic, CompareStore).
func (l Local) compareOrigin() (Verdict, bool) {
	was, now := l.Saved.Origin, l.Now
	wasRows, nowRows := contents{was.Kind, was.Formats}, contents{now.Kind, now.Formats}
	unreadable := wasRows.read(nowRows) == serde.Unreadable
	switch {
	case was.Application != now.Application:
		return refuse(l.Task, func(...string) string {
			return fmt.Sprintf("Choose another Config.State.Dir. Or, to restore the stores from the topics, remove %s, and "+
				"start again", l.Directory)
		}, "%s belongs to application %s, and this is application %s", l.where(), was.Application, now.Application), true
	case unreadable && now.Filling == state.FromNothing:
		return refuse(l.Task, func(...string) string {
			return fmt.Sprintf("The ways out: %s. Or, to start it empty at the committed offsets: %s. Or, %s",
				wasRows.keep(nowRows), l.steps(l.drop(l.Store)), l.again())
		}, "%s, and volatile", l.differs(wasRows, nowRows)), true
	case unreadable && was.Filling == state.FromChangelog && now.Filling == state.FromChangelog &&
		Same(was.TopicID, now.TopicID): // then the topic has, or had, rows of the other kind
		return refuse(l.Task, func(...string) string {
			return fmt.Sprintf("The ways out: %s. Or, to start it empty at the committed offsets: %s. Or, %s",
				wasRows.keep(nowRows), l.without(l.Store, nil, l.Now.Topic), l.again())
		}, "%s", l.differs(wasRows, nowRows)), true
	case unreadable:
		return verdict(Wipe, "%s", l.differs(wasRows, nowRows)), true
	case !Same(was.Cluster, now.Cluster) && now.Filling == state.FromChangelog && l.emptied():
		return refuse(l.Task, func(tasks ...string) string {
			return fmt.Sprintf("To go on without the rows, or with those that you copy to the topic before the last step: %s. "+
				"Or, %s", l.without(l.Store, tasks), l.again())
		}, "%s is of topic %s of cluster %s up to offset %d. The application has moved to cluster %s, where it has "+
			"committed offsets, but the topic is empty", l.where(), was.Topic, was.Cluster, l.Saved.Offset, now.Cluster), true
	case !Same(was.Cluster, now.Cluster) && now.Filling != state.FromNothing:
		return verdict(Wipe, "%s is of cluster %s, and the application has moved to cluster %s", l.where(), was.Cluster,
			now.Cluster), true
	case was.Format != now.Format:
		return verdict(Wipe, "%s has rows of version %d, and the program version %d", l.where(), was.Format, now.Format), true
	case was.Filling != now.Filling || was.Topic != now.Topic:
		return l.compareFilling(), true
	case Same(was.TopicID, now.TopicID):
		return Verdict{}, false
	}
	return verdict(Wipe, "%s is of topic %s with the id %s, which was deleted and recreated since (id %s)", l.where(),
		was.Topic, ID(was.TopicID), ID(now.TopicID)), true
}

func (l Local) differs(was, now contents) string {
	return fmt.Sprintf("%s is %s, and the program has it as %s", l.where(), was.beside(now), now.beside(was))
}

// compareFilling is for a store that something else fills now.
func (l Local) compareFilling() Verdict {
	was, now := l.Saved.Origin, l.Now
	if now.Filling == state.FromNothing {
		return verdict(Log, "%s was filled from %s, and is volatile now: the rows stay", l.where(), was.Topic)
	}
	from := was.Topic
	if was.Filling == state.FromNothing {
		from = "nothing that it could be restored from"
	}
	return verdict(Wipe, "%s was filled from %s, and is from topic %s now", l.where(), from, now.Topic)
}

// compareAbsent is for a store of which nothing is there that counts.
func (l Local) compareAbsent() Verdict {
	switch {
	case l.Saved.Rows:
		return verdict(Wipe, "%s has rows, and it is not known where they end in topic %s", l.where(), l.Now.Topic)
	case l.cut() && l.Expires == "" && l.Begun:
		return refuse(l.Task, l.withWhatIsLeft, "store %s has no local copy here, and its %s, %s, was cut: it begins at "+
			"%d%s, so rows are missing", l.Store, l.source(), l.topic(), l.First, l.known())
	case l.cut() && l.reused():
		return verdict(Log, "store %s has no local copy here. %s", l.Store, l.gone())
	case l.cut() && l.Expires != "":
		return verdict(Log, "store %s has no local copy here, and its changelog, topic %s, begins at %d%s. The broker "+
			"deletes from it by itself (%s): what is missing should be older than the store needs. If something else has cut "+
			"the topic, rows are missing", l.Store, l.Now.Topic, l.First, l.known(), l.Expires)
	case l.cut():
		return verdict(Log, "the changelog of store %s was cut: topic %s begins at %d%s", l.Store, l.Now.Topic, l.First,
			l.known())
	case l.End > l.First:
		return Verdict{Action: Restore}
	}
	return Verdict{}
}

// withWhatIsLeft are the ways out where a changelog has lost rows: without a copy of the task that does not fit it, if
// there is one. Copies of other tasks may be complete.
func (l Local) withWhatIsLeft(tasks ...string) string {
	copied := ""
	if l.Saved.Known {
		copied = l.Store
	}
	return fmt.Sprintf("To go on with the rows that topic %s has: %s. Or, %s", l.Now.Topic, l.without(copied, tasks),
		l.again())
}

// comparePosition compares a position with what its topic has.
func (l Local) comparePosition() (Verdict, bool) {
	if l.markerAlone() {
		return Verdict{}, false
	}
	at := l.Saved.Offset
	logged := l.Now.Filling == state.FromChangelog
	switch {
	case logged && l.emptied():
		return refuse(l.Task, l.withWhatIsLeft, "%s is at offset %d of topic %s, which is empty now (%d to %d)", l.where(),
			at, l.Now.Topic, l.First, l.End), true
	case logged && at > l.End && l.ExactlyOnce && l.Begun:
		return refuse(l.Task, l.withWhatIsLeft, "%s is at offset %d of topic %s, which ends at %d: the broker has lost what "+
			"it had acknowledged", l.where(), at, l.Now.Topic, l.End), true
	case logged && at < l.First && l.cut() && l.Expires != "":
		return verdict(Wipe, "%s is at offset %d of topic %s, which begins at %d%s. The broker deletes from it by itself "+
			"(%s): what is missing should be older than the store needs. If something else has cut the topic, rows are "+
			"missing", l.where(), at, l.Now.Topic, l.First, l.known(), l.Expires), true
	case at < l.First && l.cut() && l.Expires == "" && l.Begun:
		return l.cutAbove(), true
	case at < l.First || at > l.End:
		return verdict(Wipe, "%s does not fit its topic: it is at offset %d, and topic %s holds %d to %d", l.where(), at,
			l.Now.Topic, l.First, l.End), true
	case l.Old:
		return verdict(Wipe, "%s was not kept up for longer than topic %s keeps deletions", l.where(), l.Now.Topic), true
	}
	return Verdict{}, false
}

// cutAbove is the verdict on a store whose topic was cut above its position, before it was read or meanwhile.
func (l Local) cutAbove() Verdict {
	return refuse(l.Task, l.withWhatIsLeft, "%s is at offset %d of %s, which was cut and begins at %d%s: the rows "+
		"between are in neither", l.where(), l.Saved.Offset, l.topic(), l.First, l.known())
}

// Unreadable says what it costs that a part of a store's changelog can't be read, and the ways out other than to pass
// over that part.
func Unreadable(l Local) string {
	return fmt.Sprintf("What can't be read of topic %s is lost, unless the broker gets its files back from a backup: a "+
		"row of store %s whose newest record lay there is missing then, or is as it was before. Or, to give up all rows of "+
		"the store and to start it empty at the committed offsets: %s. Or, %s", l.Now.Topic, l.Store,
		l.without(l.Store, nil, l.Now.Topic), l.again())
}

// cut tells that what the store is restored from lacks records that it had, and that it was not the application that
// deleted them.
func (l Local) cut() bool {
	return (l.Now.Filling == state.FromChangelog || l.reused()) && l.First > l.Accepted
}

// known says up to where the application knows that records are missing.
func (l Local) known() string {
	switch {
	case l.reused():
		return fmt.Sprintf(", and the store was filled from offset %d on", l.Accepted)
	case l.Accepted == 0:
		return ""
	}
	return fmt.Sprintf(", and the application knows only that it lacks what was before %d", l.Accepted)
}

// source is what the store is restored from.
func (l Local) source() string {
	if l.reused() {
		return "input"
	}
	return "changelog"
}

// topic names it. The partition of a changelog is the task's.
func (l Local) topic() string {
	if l.reused() {
		return fmt.Sprintf("topic %s partition %d", l.Now.Topic, l.Partition)
	}
	return "topic " + l.Now.Topic
}

// markerAlone tells that a changelog was cut to its end, and that the copy lacks the last offset alone. Under
// exactly-once that is the marker of a transaction, which the position of a commit does not include.
func (l Local) markerAlone() bool {
	return l.ExactlyOnce && l.Now.Filling == state.FromChangelog && l.First == l.End && l.Saved.Offset == l.First-1
}

// emptied tells that the store had rows which its topic has no more, though they count.
func (l Local) emptied() bool {
	return l.Begun && l.Saved.Known && l.Saved.Offset > l.End && l.First == l.End
}

func (l Local) where() string {
	if l.Directory == "" {
		return fmt.Sprintf("the local copy of store %s", l.Store)
	}
	return fmt.Sprintf("the local copy of store %s in %s", l.Store, l.Directory)
}
