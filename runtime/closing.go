package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

var errCloseTimeout = ofKind(ErrTimeout, errors.New("runtime: not everything was committed within "+
	"Config.CloseTimeout: the rest is processed again at the next start"))

const (
	// closeGrace is what Run gives to what ends by itself once CloseTimeout is over.
	closeGrace = 500 * time.Millisecond
	// farewellMost is what it gives to the farewell of workers that do not end, and to hooks.
	farewellMost = 250 * time.Millisecond
)

// ending is how an application ends: within CloseTimeout from the moment it is asked to stop, whatever the program's
// functions do.
type ending struct {
	app  *app
	late chan struct{} // closed: the time is over, and what heeds it has had time to end
	over chan struct{} // closed: Run returns
}

// supervise turns the end of ctx into a graceful stop with a deadline.
func (e ending) supervise(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
		e.app.shut()
	case <-e.app.stop:
	case <-e.over:
		return
	}
	timer := time.NewTimer(e.app.cfg.CloseTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		cancel(errCloseTimeout)
	case <-e.over:
		return
	}
	timer.Reset(closeGrace)
	select {
	case <-timer.C:
		close(e.late)
	case <-e.over:
	}
}

// runInTime runs the application until it ends, or until its time to end is over and functions of the program have not
// come back. In that case the rest of it ends when they do.
func (e ending) runInTime(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- e.app.run(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-e.late:
	}
	err := e.abandon()
	if err == nil {
		return <-ended // it closes the state engine, which has limits of its own
	}
	go func() {
		<-ended
		e.app.cfg.Logger.Info("what had not come back within Config.CloseTimeout has now: its results are discarded",
			"application", e.app.cfg.ApplicationID)
	}()
	return err
}

// abandon cuts off what is still at work, and says what that is; nil: nothing is.
func (e ending) abandon() error {
	e.app.mu.Lock()
	workers, fills, h := e.app.workers, e.app.globals.fills, e.app.home
	e.app.mu.Unlock()
	var left []string
	var cutting sync.WaitGroup
	for _, w := range workers {
		if w.liveness.active.Load() {
			left = append(left, fmt.Sprintf("worker %d is %v", w.index, w.liveness.now.Load()))
			cutting.Go(w.cutOff)
		}
	}
	for _, f := range fills {
		if f.active.Load() {
			left = append(left, fmt.Sprintf("global store %s is %v", f.name, f.now.Load()))
		}
	}
	if len(left) == 0 && e.app.dispatcher.leaving.Load() {
		left = append(left, "the process is leaving the group")
	}
	if len(left) == 0 {
		return nil
	}
	cut := make(chan struct{})
	go func() {
		cutting.Wait()
		e.app.dispatcher.cutOff()
		close(cut)
	}()
	timer := time.NewTimer(farewellMost)
	defer timer.Stop()
	select {
	case <-cut:
	case <-timer.C:
	}
	locked := ""
	if h != nil && h.dir != "" {
		locked = fmt.Sprintf("; until then the state directory %s stays locked", h.dir)
	}
	err := ofKind(ErrTimeout,
		fmt.Errorf("runtime: Config.CloseTimeout (%v) is over, and %s: what comes of it is discarded, and processed "+
			"again at the next start%s; let functions that wait give up sooner, or raise CloseTimeout", e.app.cfg.CloseTimeout,
			strings.Join(left, "; "), locked))
	return joined(err, e.app.views.closeAll())
}

// cutOff takes its transaction from a worker that does not come back: what it makes from now on reaches nobody.
func (w *worker) cutOff() {
	if w.liveness.now.Load() == nil { // it has no client yet, and its context is over
		return
	}
	if w.app.cfg.Guarantee == ExactlyOnce {
		ctx, cancel := context.WithTimeout(context.Background(), farewellMost)
		defer cancel()
		if err := w.client.EndTxn(ctx, false); err != nil {
			w.log.Warn("can't abort the transaction: it ends by its timeout", "err", err)
		}
	}
	w.client.Close()
}

// endHooks lets the hooks run that are still waiting, as long as there is time.
func (e ending) endHooks() error {
	e.app.hooks.close()
	select {
	case <-e.app.hooks.done:
		return nil
	case <-e.late:
	}
	timer := time.NewTimer(farewellMost)
	defer timer.Stop()
	select {
	case <-e.app.hooks.done:
		return nil
	case <-timer.C:
		return ofKind(ErrTimeout,
			fmt.Errorf("runtime: Config.CloseTimeout (%v) is over, and a hook of Config.Hooks has not come back: those "+
				"behind it are not called; let hooks hand over what takes long", e.app.cfg.CloseTimeout))
	}
}
