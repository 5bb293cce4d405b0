package runtime

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"thalweg/state"
	"thalweg/topology"
)

// View is a consistent look at one store in this process: what its tasks had checkpointed when it was taken.
// Give Reader to the store's typed name, and Close the view after use:
//
//	view, err := app.View(ByWord)
//	defer view.Close()
//	n, _, ok, err := ByWord.Read(view.Reader).Get("water")
//
// Where the store has partitions that are neither in Partitions nor in Standbys, what Reader does not find may be
// there: the look-up fails with [ErrRestoring] or [ErrNotHere], and a scan yields the rows that are here and that error
// at its end. Here reads what is here alone.
type View struct {
	*state.Reader
	// Partitions are the ones whose tasks run here; other processes have the others. A global store is here whole.
	Partitions []int32
	// Standbys are partitions that Reader and Here read from copies of what other processes have: none without
	// [AcceptStandby].
	Standbys []ReadStandby

	here *state.Reader
	read *viewReader
	end  func() error
}

// Here reads what is in this process as if it were all: not found means in no partition that is here. It is for
// programs that ask each of their processes, or that know the partition of a key.
func (v *View) Here() *state.Reader { return v.here }

// Close lets the view go. It keeps old versions of rows on the disk until then. A view that is open when the
// application ends is closed by it, and so is one older than Config.State.ViewAgeMax.
func (v *View) Close() error { return v.end() }

// ViewStats are an open view's figures.
type ViewStats struct {
	Store  string
	Opened time.Time
	Age    time.Duration // it expires at Config.State.ViewAgeMax
}

func (a *app) View(store state.Store, options ...ViewOption) (*View, error) {
	return a.views.take(store, options...)
}

// views are those of the application that are open, and take further ones.
type views struct {
	app   *app
	open  map[*View]bool // app.mu
	ended bool           // app.mu
}

// take opens a view.
func (vs *views) take(store state.Store, options ...ViewOption) (*View, error) {
	sub, kept, err := vs.kept(store)
	if err != nil {
		return nil, err
	}
	vs.app.mu.Lock()
	defer vs.app.mu.Unlock()
	if vs.app.home == nil || vs.app.home.engine == nil || vs.ended {
		return nil, vs.refuse(store, vs.absent(), "the application is "+vs.app.State().String())
	}
	v := &View{}
	var restoring []int32
	var copies map[int32]readStandby
	if sub < 0 {
		if slices.ContainsFunc(vs.app.globals.fills, func(f *fill) bool { return f.name == store.Name() && !f.isFull() }) ||
			len(vs.app.globals.fills) == 0 {
			return nil, vs.refuse(store, ErrRestoring, "the global store is being filled")
		}
	} else {
		v.Partitions, restoring = vs.app.dispatcher.of(sub)
		if slices.Contains(options, AcceptStandby()) {
			copies = vs.app.standbys.readable(sub)
		}
		if len(v.Partitions)+len(copies) == 0 {
			if lacking := vs.lacking(store, sub, nil, restoring); lacking != nil {
				return nil, lacking
			}
		}
	}
	snapshot, err := vs.app.home.engine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("view: store %q: %w", store.Name(), err)
	}
	v.read = newViewReader(store.Name(), snapshot, time.Now())
	var lacking error
	if sub >= 0 {
		v.Standbys = vs.app.standbys.accept(sub, v.Partitions, copies)
		lacking = vs.lacking(store, sub, v.partitions(), restoring)
	}
	v.here = state.NewReader(v.read, viewed(sub, v.partitions())...).Of(kept)
	v.Reader = v.here.Lacking(lacking)
	v.end = func() error { return vs.close(v) }
	vs.open[v] = true
	if vs.app.cfg.State.ViewAgeMax > 0 {
		v.read.expireAfter(vs.app.cfg.State.ViewAgeMax, func() { vs.forget(v) })
	}
	return v, nil
}

// kept is the number of the sub-topology that keeps a store, -1 for a global store, and the store as the topology has
// it: the caller's name may say less.
func (vs *views) kept(store state.Store) (sub int, kept state.Store, err error) {
	sub = -1
	for _, s := range slices.Concat(vs.app.topo.Subtopologies(), vs.app.topo.Globals()) {
		if st := keeps(s, store); st != nil {
			if kept = st; !s.Global {
				sub = s.ID
			}
		}
	}
	switch {
	case kept == nil:
		return 0, nil, fmt.Errorf("view: the topology has no store %q", store.Name())
	case kept.Spec().Kind != store.Spec().Kind:
		return 0, nil, fmt.Errorf("view: store %q is a %s store, and not a %s store: use the name that the topology was "+
			"built with", store.Name(), kept.Spec().Kind, store.Spec().Kind)
	case reflect.TypeOf(kept) != reflect.TypeOf(store):
		return 0, nil, fmt.Errorf("view: store %q is a %T, and not a %T: use the name that the topology was built with",
			store.Name(), kept, store)
	case kept.Spec().InMemory:
		return 0, nil, fmt.Errorf("view: store %q is in memory alone, where only its task can read it: leave InMemory "+
			"out of its name, or read its changelog %s", store.Name(), kept.Spec().ChangelogTopic(vs.app.cfg.ApplicationID))
	}
	return sub, kept, nil
}

// keeps is the store of that name in a sub-topology; nil: it has none.
func keeps(s *topology.Subtopology, store state.Store) state.Store {
	if at := slices.IndexFunc(s.Stores, func(o state.Store) bool { return o.Name() == store.Name() }); at >= 0 {
		return s.Stores[at]
	}
	return nil
}

func (vs *views) refuse(store state.Store, kind error, why string) error {
	return fmt.Errorf("view: store %q is %w: %s", store.Name(), kind, why)
}

// absent is why there is nothing to look at: the application has not begun yet, or has ended.
func (vs *views) absent() error {
	if vs.app.State() == Rebalancing {
		return ErrRestoring
	}
	return ErrNotHere
}

// lacking says which partitions of a store can't be read here, and why; nil: all can. It needs the mutex.
func (vs *views) lacking(store state.Store, sub int, here, restoring []int32) error {
	var elsewhere []int32
	for p := range vs.app.layout().partitions[sub] {
		switch {
		case slices.Contains(here, p) || slices.Contains(restoring, p):
		case vs.app.dispatcher.taskElsewhere(TaskID{sub, p}):
			elsewhere = append(elsewhere, p)
		default: // it moves, perhaps between two workers of this process
			restoring = append(restoring, p)
		}
	}
	if slices.Sort(restoring); len(restoring) > 0 {
		return vs.refuse(store, ErrRestoring, fmt.Sprintf("partitions %v of %d are on their way, perhaps to this "+
			"process: ask again", restoring, vs.app.layout().partitions[sub]))
	}
	if len(elsewhere) == 0 {
		return nil
	}
	return vs.refuse(store, ErrNotHere, fmt.Sprintf("partitions %v of %d are in another process of application %s",
		elsewhere, vs.app.layout().partitions[sub], vs.app.cfg.ApplicationID))
}

// viewed are the namespaces that a view reads.
func viewed(sub int, partitions []int32) (namespaces [][]byte) {
	if sub < 0 {
		return [][]byte{state.GlobalNamespace()}
	}
	for _, p := range partitions {
		namespaces = append(namespaces, state.Namespace(p))
	}
	return namespaces
}

func (vs *views) close(v *View) error {
	vs.forget(v)
	return v.read.end(errViewClosed)
}

func (vs *views) forget(v *View) {
	vs.app.mu.Lock()
	defer vs.app.mu.Unlock()
	delete(vs.open, v)
}

// closeAll ends what is still open, and lets nothing more be opened.
func (vs *views) closeAll() error {
	vs.app.mu.Lock()
	vs.ended = true
	open := vs.open
	vs.open = map[*View]bool{}
	vs.app.mu.Unlock()
	var errs []error
	for v := range open {
		errs = append(errs, v.read.end(errViewClosed))
	}
	return errors.Join(errs...)
}

// stats needs the mutex.
func (vs *views) stats(now time.Time) []ViewStats {
	var stats []ViewStats
	for v := range vs.open {
		stats = append(stats, ViewStats{Store: v.read.store, Opened: v.read.opened, Age: now.Sub(v.read.opened)})
	}
	slices.SortFunc(stats, func(a, b ViewStats) int { return a.Opened.Compare(b.Opened) })
	return stats
}
