package broker_test

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	modelSession   = 30 * time.Second
	modelRebalance = 20 * time.Second
)

// modelGroup is a naive consumer group of the classic protocol. Requests that wait are answered by later events: their
// answers gather in answers.
type modelGroup struct {
	now        time.Duration
	state      string // "", "preparing", "completing", "stable"
	generation int32
	leader     string // as the broker has chosen; "" where the model does not know yet
	members    map[string]*modelMember
	invited    map[string]time.Duration // members that have an id and nothing else, and until when
	deadline   time.Duration            // of preparing, and of those that have not synced since

	offsets map[int32]modelOffset
	pending map[int32]modelOffset // of the open transaction
	commits int

	stored       map[string]modelMember // of the last generation that has an assignment, or is empty
	storedAt     int32
	storedLeader string

	answers []modelAnswer
}

type modelMember struct {
	metadata, assignment string
	joining, syncing     int // the request that waits; 0: none
	synced               bool
	session              time.Duration
}

// modelOffset is an offset and the number of its commit.
type modelOffset struct {
	offset int64
	commit int
}

// modelAnswer answers a request that waited, or did not have to.
type modelAnswer struct {
	request    int
	err        *kerr.Error
	generation int32
	member     string
	assignment string
}

func newModelGroup() *modelGroup {
	return &modelGroup{
		members: map[string]*modelMember{}, invited: map[string]time.Duration{},
		offsets: map[int32]modelOffset{}, pending: map[int32]modelOffset{}, stored: map[string]modelMember{}, now: 1,
	}
}

func (g *modelGroup) answer(a modelAnswer) { g.answers = append(g.answers, a) }

func (g *modelGroup) touch(m *modelMember) { m.session = g.now + modelSession }

func (g *modelGroup) ids() []string { return slices.Sorted(maps.Keys(g.members)) }

// exists tells whether the broker knows the group: members, ids that were given out, offsets, or a stored generation.
func (g *modelGroup) exists() bool {
	return len(g.members)+len(g.invited)+len(g.offsets)+len(g.pending) > 0 || g.storedAt > 0
}

func (g *modelGroup) join(request int, id, metadata string) {
	m := g.members[id]
	if _, ok := g.invited[id]; ok {
		delete(g.invited, id)
		m = &modelMember{}
		g.members[id] = m
	} else if m == nil {
		g.answer(modelAnswer{request: request, err: kerr.UnknownMemberID, generation: -1})
		return
	} else if m.metadata == metadata && (g.state == "completing" || g.state == "stable" && g.leader != id) {
		g.touch(m)
		g.answer(modelAnswer{request: request, generation: g.generation, member: id})
		return
	}
	if m.joining != 0 { // the older request's client has gone
		g.answer(modelAnswer{request: m.joining, err: kerr.UnknownMemberID})
	}
	m.metadata, m.joining = metadata, request
	g.rebalance()
}

func (g *modelGroup) rebalance() {
	if g.state != "preparing" {
		for _, id := range g.ids() {
			if m := g.members[id]; m.syncing != 0 {
				g.answer(modelAnswer{request: m.syncing, err: kerr.RebalanceInProgress})
				m.syncing = 0
				g.touch(m)
			}
		}
		if g.state, g.deadline = "preparing", g.now; len(g.members) > 0 {
			g.deadline += modelRebalance // the members' largest, which is nothing where only ids are given out
		}
	}
	g.tryComplete()
}

func (g *modelGroup) tryComplete() {
	if g.state != "preparing" || len(g.invited) > 0 {
		return
	}
	for _, m := range g.members {
		if m.joining == 0 {
			return
		}
	}
	g.complete()
}

func (g *modelGroup) complete() {
	if len(g.members) == 0 {
		g.empty()
		return
	}
	g.generation++
	g.state, g.deadline, g.leader = "completing", g.now+modelRebalance, ""
	for _, id := range g.ids() {
		m := g.members[id]
		g.answer(modelAnswer{request: m.joining, generation: g.generation, member: id})
		m.joining, m.synced, m.assignment = 0, false, ""
		g.touch(m)
	}
}

// empty stores a generation without members.
func (g *modelGroup) empty() {
	g.state = ""
	g.generation++
	for _, id := range g.ids() {
		g.dismiss(id)
	}
	g.stored, g.storedAt, g.storedLeader = map[string]modelMember{}, g.generation, ""
}

// dismiss ends a member and what it waits for.
func (g *modelGroup) dismiss(id string) {
	m := g.members[id]
	if m.joining != 0 {
		g.answer(modelAnswer{request: m.joining, err: kerr.UnknownMemberID, generation: -1})
	}
	if m.syncing != 0 {
		g.answer(modelAnswer{request: m.syncing, err: kerr.UnknownMemberID})
	}
	delete(g.members, id)
	if g.leader == id {
		g.leader = ""
	}
}

func (g *modelGroup) remove(id string) {
	if len(g.members) == 1 && len(g.invited) == 0 {
		g.empty()
		return
	}
	g.dismiss(id)
	if g.state == "preparing" {
		g.tryComplete()
	} else {
		g.rebalance()
	}
}

func (g *modelGroup) sync(request int, id string, generation int32, assignments map[string]string) {
	m := g.members[id]
	switch {
	case m == nil:
		g.answer(modelAnswer{request: request, err: kerr.UnknownMemberID})
		return
	case g.state == "preparing":
		g.answer(modelAnswer{request: request, err: kerr.RebalanceInProgress})
		return
	case generation != g.generation:
		g.answer(modelAnswer{request: request, err: kerr.IllegalGeneration})
		return
	}
	m.synced = true
	if g.state == "stable" {
		g.touch(m)
		g.answer(modelAnswer{request: request, assignment: m.assignment})
		return
	}
	if m.syncing != 0 {
		g.answer(modelAnswer{request: m.syncing, err: kerr.RebalanceInProgress})
	}
	m.syncing = request
	if id != g.leader {
		return
	}
	g.state = "stable"
	g.stored, g.storedAt, g.storedLeader = map[string]modelMember{}, g.generation, g.leader
	for _, id := range g.ids() {
		m := g.members[id]
		m.assignment = assignments[id]
		g.stored[id] = modelMember{metadata: m.metadata, assignment: m.assignment, synced: true}
		if m.syncing != 0 {
			g.answer(modelAnswer{request: m.syncing, assignment: m.assignment})
			m.syncing = 0
			g.touch(m)
		}
	}
}

func (g *modelGroup) heartbeat(id string, generation int32) *kerr.Error {
	m := g.members[id]
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case generation != g.generation:
		return kerr.IllegalGeneration
	}
	g.touch(m)
	if g.state == "preparing" {
		return kerr.RebalanceInProgress
	}
	return nil
}

func (g *modelGroup) leave(id string) *kerr.Error {
	if _, ok := g.invited[id]; ok {
		delete(g.invited, id)
		g.tryComplete()
		return nil
	}
	if g.members[id] == nil {
		return kerr.UnknownMemberID
	}
	g.remove(id)
	return nil
}

// commit commits an offset as a member does or, with generation -1, somebody outside of the protocol.
func (g *modelGroup) commit(
	id string, generation int32, transactional bool, partition int32, offset int64,
) *kerr.Error {
	m := g.members[id]
	switch {
	case generation < 0 && (g.state == "" || id == "" && transactional):
	case m == nil && generation >= 0 && !g.exists() && transactional:
		return kerr.IllegalGeneration
	case m == nil && generation >= 0 && !g.exists():
		return kerr.GroupIDNotFound
	case m == nil:
		return kerr.UnknownMemberID
	case generation != g.generation:
		return kerr.IllegalGeneration
	case g.state == "completing" && !transactional:
		return kerr.RebalanceInProgress
	default:
		g.touch(m)
	}
	g.commits++
	if transactional {
		g.pending[partition] = modelOffset{offset, g.commits}
	} else {
		g.offsets[partition] = modelOffset{offset, g.commits}
	}
	return nil
}

// deleteTopic forgets the offsets of the topic, and those that the transaction would commit.
func (g *modelGroup) deleteTopic() {
	g.offsets, g.pending = map[int32]modelOffset{}, map[int32]modelOffset{}
}

// deleteGroup forgets all that is stored of a group without members.
func (g *modelGroup) deleteGroup() *kerr.Error {
	switch {
	case !g.exists():
		return kerr.GroupIDNotFound
	case g.state != "":
		return kerr.NonEmptyGroup
	}
	g.deleteTopic()
	clear(g.invited)
	g.generation, g.storedAt, g.deadline = 0, 0, 0
	return nil
}

// endTransaction lets the offsets of the transaction count where nothing newer was committed, or forgets them.
func (g *modelGroup) endTransaction(commit bool) {
	for partition, o := range g.pending {
		if commit && o.commit > g.offsets[partition].commit {
			g.offsets[partition] = o
		}
	}
	g.pending = map[int32]modelOffset{}
}

// advance lets time pass: whatever is due happens, one after the other.
func (g *modelGroup) advance(d time.Duration) {
	end := g.now + d
	for {
		due, what := end+1, func() {}
		at := func(t time.Duration, f func()) {
			if t < due {
				due, what = t, f
			}
		}
		for _, id := range g.ids() {
			m := g.members[id]
			at(m.session, func() {
				if g.touch(m); m.joining == 0 && m.syncing == 0 { // a member that waits for the broker is alive
					g.remove(id)
				}
			})
		}
		for _, id := range slices.Sorted(maps.Keys(g.invited)) {
			at(g.invited[id], func() {
				delete(g.invited, id)
				g.tryComplete()
			})
		}
		if g.deadline > 0 {
			at(g.deadline, g.timeout)
		}
		if due > end {
			break
		}
		g.now = due
		what()
	}
	g.now = end
}

// timeout removes those that have not joined in time or, later, not asked for their assignment.
func (g *modelGroup) timeout() {
	g.deadline = 0
	gone := false
	for _, id := range g.ids() {
		m := g.members[id]
		if g.state == "preparing" && m.joining == 0 || g.state != "preparing" && !m.synced {
			g.dismiss(id)
			gone = true
		}
	}
	switch {
	case g.state == "preparing":
		g.complete()
	case g.state != "" && (gone || g.state == "completing"):
		g.rebalance()
	}
}

// restart forgets what was not stored, and the requests that waited.
func (g *modelGroup) restart() {
	g.answers, g.invited, g.deadline = nil, map[string]time.Duration{}, 0
	members := map[string]*modelMember{}
	for id, m := range g.stored {
		g.touch(&m)
		members[id] = &m
	}
	g.members, g.generation, g.leader, g.state = members, g.storedAt, g.storedLeader, ""
	if len(members) > 0 {
		g.state = "stable"
	}
}
