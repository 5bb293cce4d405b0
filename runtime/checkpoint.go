package runtime

import (
	"context"
	"errors"
	"fmt"
)

func (a *app) Checkpoint(ctx context.Context) error {
	a.mu.Lock()
	workers := a.workers
	a.mu.Unlock()
	for _, w := range workers {
		done := make(chan error, 1)
		select {
		case w.asks <- done:
		case <-w.gone: // its tasks have others, or the application ends
			continue
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
		case <-w.gone:
		case <-a.done:
			return errors.New("checkpoint: the application has ended")
		case <-ctx.Done():
			return fmt.Errorf("checkpoint: %w", context.Cause(ctx))
		}
	}
	return nil
}
