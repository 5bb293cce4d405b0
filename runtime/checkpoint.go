package runtime

import (
	"context"
	"fmt"
)

func (a *app) Checkpoint(ctx context.Context) error {
	a.mu.Lock()
	workers := a.workers
	a.mu.Unlock()
	for _, w := range workers {
		if err := a.checkpointOf(ctx, w); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	if a.isStopped() && len(workers) == 0 {
		return fmt.Errorf("checkpoint: %w", errEnded)
	}
	return nil
}

// checkpointOf asks one worker. One that is gone has closed its tasks, which wrote what they had committed.
func (a *app) checkpointOf(ctx context.Context, w *worker) error {
	done := make(chan error, 1)
	asks := w.asks
	for {
		select {
		case asks <- done:
			asks = nil
		case err := <-done:
			return err
		case <-w.gone:
			if a.isStopped() {
				return errEnded
			}
			return nil
		case <-a.done:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
