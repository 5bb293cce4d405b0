package runtime

import (
	"log/slog"
	"time"

	"thalweg/topology"
)

// sayEvery is the least time between two log lines about what is late at a node, or ahead in a partition.
const sayEvery = time.Minute

// untimely says which records of a worker are out of time: those that came too late and are dropped, and those that are
// ahead of the clock. Of a node, or a partition, the first is said at once, and then at most once a minute how many
// came since.
type untimely struct {
	log   *slog.Logger
	clock func() time.Time
	late  map[string]*lateAt // by node
	open  int                // of these, how many have something that is not said
	ahead map[aheadAt]time.Time
}

// lateAt is what a node dropped since it was said last.
type lateAt struct {
	said    time.Time
	records int64
	most    int64             // milliseconds behind its time
	at      topology.Metadata // of that record
}

// aheadAt is where records are ahead of the clock.
type aheadAt struct {
	node, topic string
	partition   int32
}

// aheadMost limits the places that are remembered.
const aheadMost = 1000

// sourceOf says where the record being processed came from.
func sourceOf(in *topology.Instance) topology.Metadata {
	if in.Env.Source == nil {
		return topology.Metadata{Partition: -1, Offset: -1}
	}
	return in.Env.Source.Metadata()
}

// dropped notes a record that a node drops because it is late.
func (u *untimely) dropped(in *topology.Instance, behind int64) {
	n := u.late[in.Node.Name]
	if n == nil {
		n = &lateAt{}
		if u.late == nil {
			u.late = map[string]*lateAt{}
		}
		u.late[in.Node.Name] = n
	}
	if n.records++; n.records == 1 {
		u.open++
	}
	if behind > n.most || n.records == 1 {
		n.most, n.at = behind, sourceOf(in)
	}
	if n.said.IsZero() {
		u.sayLate(in.Node.Name, n, u.clock())
	}
}

func (u *untimely) sayLate(node string, n *lateAt, now time.Time) {
	u.log.Warn("records came too late for their windows, or for what a store keeps, and are dropped: a longer grace "+
		"period would have kept them", "node", node, "records", n.records, "behind", time.Duration(n.most)*time.Millisecond,
		"topic", n.at.Topic, "partition", n.at.Partition, "offset", n.at.Offset)
	*n = lateAt{said: now}
	u.open--
}

// say says what has come together. A clock that was set back does not silence it.
func (u *untimely) say(now time.Time) {
	if u.open == 0 {
		return
	}
	for node, n := range u.late {
		if passed := now.Sub(n.said); n.records > 0 && (passed >= sayEvery || passed < 0) {
			u.sayLate(node, n, now)
		}
	}
}

// leads warns of a record whose time is far past the clock.
func (u *untimely) leads(in *topology.Instance, timestamp int64) {
	from, now := sourceOf(in), u.clock()
	at := aheadAt{in.Node.Name, from.Topic, from.Partition}
	if said, ok := u.ahead[at]; ok && now.Sub(said) < sayEvery && !now.Before(said) {
		return
	}
	if u.ahead == nil || len(u.ahead) >= aheadMost {
		u.ahead = map[aheadAt]time.Time{}
	}
	u.ahead[at] = now
	stamp := time.UnixMilli(timestamp)
	u.log.Warn("a record's time is more than a day ahead of the clock: stream time goes there, and usual records that "+
		"follow are late. If that is not meant, let Topic.Timestamps return a negative time for such records, which drops "+
		"them, or bound message.timestamp.after.max.ms of the topic", "node", in.Node.Name, "topic", from.Topic,
		"partition", from.Partition, "offset", from.Offset, "timestamp", stamp.UTC(), "ahead",
		time.Duration(timestamp-now.UnixMilli())*time.Millisecond)
}
