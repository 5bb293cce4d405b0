package runtime

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"thalweg/state"
	"thalweg/topology"
)

// View is a consistent look at one store in this process: what its tasks had checkpointed when it was taken.
// Give Reader to the store's typed name, and Close the view after use:
//
//	view, err := app.View(ByWord)
//	defer view.Close()
//	n, _, ok, err := ByWord.Read(view.Reader).Get("water")
type View struct {
	*state.Reader
	// Partitions are the ones whose tasks run here; other processes have the others. A global store is here whole.
	Partitions []int32

	end func() error
}

func (a *app) View(store state.Store) (*View, error) {
	sub := -1
	var kept state.Store // as the topology has it: the caller's name may say less
	for _, s := range slices.Concat(a.topo.Subtopologies(), a.topo.Globals()) {
		if st := keeps(s, store); st != nil {
			if kept = st; !s.Global {
				sub = s.ID
			}
		}
	}
	switch {
	case kept == nil:
		return nil, fmt.Errorf("view: the topology has no store %q", store.Name())
	case kept.Spec().Kind != store.Spec().Kind:
		return nil, fmt.Errorf("view: store %q is a %s store, and not a %s store: use the name that the topology was built "+
			"with", store.Name(), kept.Spec().Kind, store.Spec().Kind)
	case reflect.TypeOf(kept) != reflect.TypeOf(store):
		return nil, fmt.Errorf("view: store %q is a %T, and not a %T: use the name that the topology was built with",
			store.Name(), kept, store)
	case kept.Spec().InMemory:
		return nil, fmt.Errorf("view: store %q is in memory alone, where only its task can read it: leave InMemory out of "+
			"its name, or read its changelog %s", store.Name(), kept.Spec().ChangelogTopic(a.cfg.ApplicationID))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.home == nil || a.home.engine == nil || a.viewsEnded {
		return nil, fmt.Errorf("view: store %q: the application is %s", store.Name(), a.State())
	}
	v := &View{}
	v.end = func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.closeView(v)
	}
	var namespaces [][]byte
	if sub < 0 {
		namespaces = append(namespaces, state.GlobalNamespace())
	} else {
		v.Partitions = a.claims.runningOf(sub)
	}
	for _, p := range v.Partitions {
		namespaces = append(namespaces, state.Namespace(p))
	}
	snapshot, err := a.home.engine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("view: store %q: %w", store.Name(), err)
	}
	v.Reader = state.NewReader(snapshot, namespaces...)
	a.views[v] = snapshot
	return v, nil
}

// keeps is the store of that name in a sub-topology; nil: it has none.
func keeps(s *topology.Subtopology, store state.Store) state.Store {
	if at := slices.IndexFunc(s.Stores, func(o state.Store) bool { return o.Name() == store.Name() }); at >= 0 {
		return s.Stores[at]
	}
	return nil
}

// Close lets the view go. It keeps old versions of rows alive until then. A view that is open when the application
// ends is closed by it.
func (v *View) Close() error { return v.end() }

// closeView needs the mutex.
func (a *app) closeView(v *View) error {
	snapshot, open := a.views[v]
	if !open {
		return nil
	}
	delete(a.views, v)
	return snapshot.Close()
}

// closeViews ends what is still open, and lets nothing more be opened.
func (a *app) closeViews() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.viewsEnded = true
	var errs []error
	for v := range a.views {
		errs = append(errs, a.closeView(v))
	}
	return errors.Join(errs...)
}

func (a *app) Checkpoint(ctx context.Context) error {
	a.mu.Lock()
	workers := a.workers
	a.mu.Unlock()
	for _, w := range workers {
		done := make(chan error, 1)
		select {
		case w.asks <- done:
		case <-a.done:
			return errors.New("checkpoint: the application has ended")
		case <-ctx.Done():
			return fmt.Errorf("checkpoint: %w", context.Cause(ctx))
		}
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-a.done:
			return errors.New("checkpoint: the application has ended")
		case <-ctx.Done():
			return fmt.Errorf("checkpoint: %w", context.Cause(ctx))
		}
	}
	return nil
}
