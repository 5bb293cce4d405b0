package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/task"
	"thalweg/state"
)

// compare looks at what lies on this machine of the stores, before anything of it is read, and drops it where it is of
// another topic, or all of it is to be filled again. It returns the origins that their rows have from now on.
func (f *fill) compare(ctx context.Context, again bool) (map[string]state.Origin, error) {
	a := f.app
	identity, err := f.control.Topics().Identify(ctx, f.topic)
	if err != nil {
		return nil, err
	}
	origins := map[string]state.Origin{}
	f.synced = time.Time{}
	for i, st := range f.sub.Stores {
		filled := fillingOf(st, f.sub.ID, state.FromGlobal)
		filled.topic = f.topic
		o := originOf(filled, identity, a.cfg.ApplicationID)
		origins[st.Name()] = o
		if a.home.engine == nil || again {
			continue
		}
		l := origin.Local{Place: a.home.place(a.cfg), Store: st.Name(), Now: o}
		if l.Saved, err = state.ReadSaved(a.home.engine, state.GlobalNamespace(), st.Name()); err != nil {
			return nil, err
		}
		if s := l.Saved.Synced; i == 0 || s.Before(f.synced) { // the oldest counts
			f.synced = s
		}
		v := origin.CompareLocal(l)
		if v.Action == origin.Refuse {
			return nil, v.Err()
		}
		if v.Action == origin.Wipe {
			f.log.Warn(v.Text + ": filling it again")
			again = true
		}
	}
	if !again || a.home.engine == nil {
		return origins, nil
	}
	names := []string{task.GlobalOffsets(f.name)} // first: the offsets must never be ahead of the rows
	for _, st := range f.sub.Stores {
		names = append(names, st.Name())
	}
	for _, name := range names {
		if err := state.EraseSaved(a.home.engine, state.GlobalNamespace(), name); err != nil {
			return nil, err
		}
	}
	return origins, nil
}

// grown says that the topic of a global store has more partitions than are read.
type grown struct {
	topic    string
	was, now int32
}

func (e *grown) Error() string {
	return fmt.Sprintf("topic %s has %d partitions, and had %d", e.topic, e.now, e.was)
}

// strayed tells that the topic does not have what follows any more, or has more than is read.
func strayed(err error) bool {
	_, cut := errors.AsType[*kclient.OutOfRangeError](err)
	_, recreated := errors.AsType[*kclient.RecreatedError](err)
	_, more := errors.AsType[*grown](err)
	return cut || recreated || more
}

// look asks now and then whether the topic has more partitions.
func (f *fill) look(ctx context.Context) error {
	now := time.Now()
	if now.Sub(f.looked) < f.control.MetadataAge() {
		return nil
	}
	f.looked = now
	ctx, cancel := context.WithTimeout(ctx, resizeMost)
	defer cancel()
	counts, err := f.control.PartitionCounts(ctx, f.topic)
	if err != nil {
		f.log.Debug("can't ask for the partitions of the topic", "err", err)
		return nil
	}
	if n := counts[f.topic]; n > f.partitions {
		return &grown{f.topic, f.partitions, n}
	}
	return nil
}

// refill fills the stores while the application runs: what is in partitions that were added, or all of it where the
// topic does not have the next record any more, so that rows may have changed or gone of which nothing was read.
// Workers wait, since rows are missing meanwhile.
func (f *fill) refill(ctx context.Context, stop <-chan struct{}, cause error) error {
	more, keep := errors.AsType[*grown](cause)
	if keep {
		f.log.Info("the topic has more partitions: filling the store from them, too", "cause", cause)
		f.partitions = more.now
	} else {
		f.log.Warn("the topic was cut or recreated while it was followed: filling the store again", "cause", cause)
	}
	ctx, cancel := f.app.untilStop(ctx)
	defer cancel()
	if !f.again.Swap(true) {
		f.app.pokeWorkers()
		if err := f.app.globals.gate.close(ctx); err != nil {
			return f.stopped(stop, err)
		}
	}
	f.fetcher.Close()
	f.fetcher = nil
	err := f.task.Close()
	f.task = nil
	if err == nil {
		err = f.open(ctx, !keep)
	}
	if err == nil && len(f.behind) == 0 {
		f.filled()
	}
	return f.stopped(stop, err)
}

// stopped is errStop where the end of the application has cut a wait short.
func (f *fill) stopped(stop <-chan struct{}, err error) error {
	select {
	case <-stop:
		if errors.Is(err, context.Canceled) {
			return errStop
		}
	default:
	}
	return err
}

// filled lets the workers look rows up.
func (f *fill) filled() {
	if f.again.Swap(false) {
		f.app.globals.gate.open()
		f.app.pokeWorkers()
		return
	}
	close(f.full)
}

func (a *app) pokeWorkers() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		w.inbox.poke()
	}
}
