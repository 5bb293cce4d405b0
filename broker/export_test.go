package broker

import "context"

// contextThatIsOver lets requests begin, and none wait.
func contextThatIsOver() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}
