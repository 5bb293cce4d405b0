package memory

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

// Request is what a part of Thalweg brings when it joins the limit of its process.
type Request struct {
	// Name is how errors and Usage call it, such as "application wordcount".
	Name string
	// BytesMax is the limit that it asks for; 0: whatever is set.
	BytesMax int64
	// Follows says that it takes any limit, whatever its own BytesMax is: an application or broker that comes later sets
	// the limit as if it were the first.
	Follows bool
	// Workers and Fillings are the parts among which it divides its shares: workers, and what fills global stores.
	Workers, Fillings int
	// Kinds are what it holds.
	Kinds []Kind
	// Fixed are the shares whose size it sets by itself, and has alone.
	Fixed []Fixed
	// BallastBytes are allocated on the heap and never touched.
	BallastBytes int64
}

// Fixed is a share of a size that somebody chose.
type Fixed struct {
	Kind     Kind
	BytesMax int64
	Setting  string // the name of the setting, for errors
}

// Limit is a memory limit and its members. Use [Join], which is about the one of the process.
type Limit struct {
	detect  func() (bytes int64, of string)
	golimit goLimit

	mu sync.Mutex
	setting
	members []*Member
	pool    [kinds]*Share
}

// setting is how large a limit is.
type setting struct {
	bytesMax int64
	by       string // who set it; empty: the default
	of       string // what the default is a half of
}

// goLimit is Go's own limit.
type goLimit struct {
	env func(string) (string, bool)
	set func(int64) int64 // as debug.SetMemoryLimit
	our int64             // what was set here; 0: nothing
}

// Member is a part of Thalweg under the limit.
type Member struct {
	limit  *Limit
	asks   Request
	shares [kinds]*Share // nil: it does not hold that kind
}

var process = &Limit{
	detect:  func() (int64, string) { return available(os.DirFS("/")) },
	golimit: goLimit{env: os.LookupEnv, set: debug.SetMemoryLimit},
}

// Join makes a part of the process subject to its limit. The first sets it. A later one that asks for another, or
// whose shares do not fit, gets an error that says what does not fit. Leave when nothing is held any more: after the
// last member has left, the next one sets the limit again.
func Join(r Request) (*Member, error) { return process.Join(r) }

// Join is as the function of that name.
func (l *Limit) Join(r Request) (*Member, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &Member{limit: l, asks: r}
	before := l.setting
	if err := l.agree(r); err != nil {
		return nil, err
	}
	members := append(slices.Clone(l.members), m)
	plan, err := l.divide(members)
	if err != nil {
		l.setting = before
		return nil, err
	}
	l.members = members
	for _, k := range r.Kinds {
		if l.pool[k] == nil {
			l.pool[k] = NewShare(k, plan[k])
			l.pool[k].ceiling = k.bytes(l.divided())
		}
		m.shares[k] = l.pool[k]
	}
	for _, f := range r.Fixed {
		m.shares[f.Kind] = NewShare(f.Kind, f.BytesMax)
	}
	l.apply(plan)
	return m, nil
}

// Check returns an error for a request that can't fit by itself: the limit, or a share that it sets, is too small.
// Members do not count, since they may have left when it joins.
func Check(r Request) error { return process.Check(r) }

// Check is as the function of that name.
func (l *Limit) Check(r Request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	alone := &Limit{detect: l.detect, setting: l.setting}
	if l.leader() == nil || r.BytesMax != 0 {
		if err := alone.agree(r); err != nil {
			return err
		}
	}
	_, err := alone.divide([]*Member{{limit: alone, asks: r}})
	return err
}

// agree sets the limit, or compares it with what is asked for.
func (l *Limit) agree(r Request) error {
	first := l.leader()
	switch {
	case first == nil && (!r.Follows || len(l.members) == 0):
		l.setting = setting{r.BytesMax, r.Name, ""}
		if l.bytesMax == 0 {
			total, of := l.detect()
			l.setting = setting{total / 2, "", of}
		}
	case r.BytesMax != 0 && r.BytesMax != l.bytesMax && !r.Follows:
		return fmt.Errorf("memory: %s sets MemoryBytesMax to %s, but the limit of this process is %s: there is one for "+
			"all: set the same, or leave it out", r.Name, size(r.BytesMax), l.described(first))
	}
	return nil
}

// leader is the first member that does not follow; nil: there is none.
func (l *Limit) leader() *Member {
	i := slices.IndexFunc(l.members, func(m *Member) bool { return !m.asks.Follows })
	if i < 0 {
		return nil
	}
	return l.members[i]
}

// described is the limit with where it comes from.
func (l *Limit) described(first *Member) string {
	if l.by == "" {
		return fmt.Sprintf("%s, half of %s, since %s was opened first and set none", size(l.bytesMax), l.of,
			first.asks.Name)
	}
	return fmt.Sprintf("%s, set by %s", size(l.bytesMax), l.by)
}

func (l *Limit) divided() int64 { return times(l.bytesMax, dividedNum, dividedDen) }

// divide says how large the common shares are.
func (l *Limit) divide(members []*Member) (plan [kinds]int64, err error) {
	open, least, left := l.demand(members)
	for _, m := range members {
		for _, f := range m.asks.Fixed {
			if err := m.asks.fits(f); err != nil {
				return plan, err
			}
		}
	}
	if missing := cost(least) - left; missing > 0 {
		return plan, l.tooSmall(members, missing)
	}
	for len(open) > 0 {
		rest, settled := share(open, left, &least, &plan)
		if len(rest) == len(open) {
			break
		}
		open, left = rest, left-settled
	}
	return plan, nil
}

// demand is which common shares the members have, what these need at least, and what is left for them.
func (l *Limit) demand(members []*Member) (open []Kind, least [kinds]int64, left int64) {
	left = l.divided()
	var workers, fillings [kinds]int
	for _, m := range members {
		for _, k := range m.asks.Kinds {
			if m.asks.fixes(k) {
				continue
			}
			if !slices.Contains(open, k) {
				open = append(open, k)
			}
			workers[k], fillings[k] = workers[k]+m.asks.Workers, fillings[k]+m.asks.Fillings
		}
		for _, f := range m.asks.Fixed {
			left -= f.Kind.cost(f.BytesMax)
		}
	}
	slices.Sort(open)
	for _, k := range open {
		least[k] = k.needed(workers[k], fillings[k])
	}
	return open, least, left
}

func cost(bytes [kinds]int64) (sum int64) {
	for k := range kinds {
		sum += k.cost(bytes[k])
	}
	return sum
}

func (r Request) fixes(k Kind) bool {
	return slices.ContainsFunc(r.Fixed, func(f Fixed) bool { return f.Kind == k })
}

// fits returns an error where the member's parts have too little of a share whose size it sets. The engine and restores
// work with any.
func (r Request) fits(f Fixed) error {
	n := int64(r.Workers + r.Fillings)
	part := table[f.Kind].part
	if n <= 1 || f.Kind == Engine || f.BytesMax >= n*part {
		return nil
	}
	among, fewer := fmt.Sprintf("%d workers", r.Workers), ""
	most := f.BytesMax/part - int64(r.Fillings)
	if r.Fillings > 0 {
		among += " and the global stores"
	} else {
		most = max(most, 1) // which may have any
	}
	if most > 0 {
		fewer = fmt.Sprintf(", or Workers to %d at most", most)
	}
	return fmt.Errorf("memory: %s of %s is too small for %s of %s: set it to %s at least%s", f.Setting, size(f.BytesMax),
		among, r.Name, enough(n*part), fewer)
}

// share divides what is left by weight. Kinds that reach their least or their most are settled, and the others divide
// again.
func share(open []Kind, left int64, least, plan *[kinds]int64) (rest []Kind, settled int64) {
	var weights int64
	for _, k := range open {
		weights += table[k].weight
	}
	var below, above []Kind
	for _, k := range open {
		plan[k] = k.bytes(left / weights * table[k].weight)
		switch {
		case plan[k] < least[k]:
			below = append(below, k)
		case plan[k] > max(table[k].most, least[k]):
			above = append(above, k)
		}
	}
	settle, bound := below, func(k Kind) int64 { return least[k] }
	if len(below) == 0 {
		settle, bound = above, func(k Kind) int64 { return max(table[k].most, least[k]) }
	}
	for _, k := range open {
		if slices.Contains(settle, k) {
			plan[k] = bound(k)
			settled += k.cost(plan[k])
		} else {
			rest = append(rest, k)
		}
	}
	return rest, settled
}

// tooSmall says what the last of the members lacks.
func (l *Limit) tooSmall(members []*Member, missing int64) error {
	var names, fixed []string
	for _, m := range members {
		names = append(names, m.asks.Name)
		for _, f := range m.asks.Fixed {
			fixed = append(fixed, fmt.Sprintf("%s %s of %s", f.Setting, size(f.BytesMax), m.asks.Name))
		}
	}
	need := times(l.divided()+missing, dividedDen, dividedNum) + 1
	text := fmt.Sprintf("memory: the limit of %s is too small for %s", size(l.bytesMax), strings.Join(names, ", "))
	if len(fixed) > 0 {
		text += " with " + strings.Join(fixed, ", ")
	}
	fewer := ""
	if n, ok := l.workersThatFit(members); ok {
		fewer = fmt.Sprintf(", or Workers of %d at most", n)
	}
	return fmt.Errorf("%s: it takes a MemoryBytesMax of %s at least%s, since a tenth is left free and a byte of Go's "+
		"heap counts 1.6", text, enough(roundUp(need, mebi)), fewer)
}

// workersThatFit is how many workers the last of the members could have.
func (l *Limit) workersThatFit(members []*Member) (n int, ok bool) {
	last := *members[len(members)-1]
	members = append(slices.Clone(members[:len(members)-1]), &last)
	few, many := 0, last.asks.Workers // which fit, and do not
	for many-few > 1 {
		last.asks.Workers = few + (many-few)/2
		if _, least, left := l.demand(members); cost(least) <= left {
			few = last.asks.Workers
		} else {
			many = last.asks.Workers
		}
	}
	return few, few > 0
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// apply resizes the common shares, and Go's limit.
func (l *Limit) apply(plan [kinds]int64) {
	for k, s := range l.pool {
		if s != nil {
			s.resize(plan[k])
		}
	}
	var ballast, offHeap int64
	held := map[*Share]bool{}
	for _, m := range l.members {
		ballast += m.asks.BallastBytes
		for k, s := range m.shares {
			if s != nil && Kind(k).OffHeap() && !held[s] {
				held[s] = true
				offHeap += s.BytesMax()
			}
		}
	}
	if l.leader() == nil { // the limit of a program that has clients alone is its own concern
		l.golimit.apply(math.MaxInt64)
		return
	}
	l.golimit.apply(l.bytesMax - offHeap + ballast)
}

// apply sets Go's limit unless the program has set it.
func (g *goLimit) apply(bytes int64) {
	if _, set := g.env("GOMEMLIMIT"); set {
		return
	}
	now := g.set(-1)
	if now != math.MaxInt64 && now != g.our || now == bytes {
		return
	}
	g.set(bytes)
	g.our = bytes
}

// Share is the member's share of a kind that it asked for.
func (m *Member) Share(k Kind) *Share { return m.shares[k] }

// Leave says that the member holds nothing any more. It may be called twice.
func (m *Member) Leave() {
	l := m.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.members, m) {
		return
	}
	l.members = slices.DeleteFunc(l.members, func(have *Member) bool { return have == m })
	for k := range l.pool {
		if !slices.ContainsFunc(l.members, func(m *Member) bool { return m.shares[k] == l.pool[k] }) {
			l.pool[k] = nil
		}
	}
	if plan, err := l.divide(l.members); err == nil { // fewer always fit
		l.apply(plan)
	}
}

// Usage is what is held under a limit.
type Usage struct {
	BytesMax int64
	Holders  []Holder
}

// Holder is one share.
type Holder struct {
	Kind     Kind
	Owner    string // of a share that one member has alone; empty: all members share it
	Bytes    int64
	BytesMax int64
}

// Usage is what each share holds now, of all members.
func (m *Member) Usage() Usage {
	u, shares := m.limit.holders()
	for i := range shares { // counting may take a while: without the mutex
		u.Holders[i].Bytes = shares[i].UsedBytes()
	}
	return u
}

func (l *Limit) holders() (u Usage, shares []*Share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u.BytesMax = l.bytesMax
	for _, m := range l.members {
		for k, s := range m.shares {
			if s == nil || slices.Contains(shares, s) {
				continue
			}
			h := Holder{Kind: Kind(k), BytesMax: s.BytesMax()}
			if s != l.pool[k] {
				h.Owner = m.asks.Name
			}
			shares, u.Holders = append(shares, s), append(u.Holders, h)
		}
	}
	return u, shares
}

// enough is size, but never less than bytes: a limit that is set to it is not refused.
func enough(bytes int64) string {
	for _, unit := range [...]int64{1 << 30, mebi, kibi} {
		if bytes >= 10*unit {
			return size(roundUp(bytes, unit))
		}
	}
	return size(bytes)
}

// size writes bytes as people do.
func size(bytes int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {mebi, "MiB"}, {1 << 10, "KiB"}} {
		if bytes >= u.bytes && bytes%u.bytes == 0 || bytes >= 10*u.bytes {
			return fmt.Sprintf("%d %s", bytes/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}
