package runtime

import "sync"

// inbox has the orders that a worker has not looked at yet. Any goroutine may use it.
type inbox struct {
	mu     sync.Mutex
	orders []order
	wake   chan struct{} // has a token when something outside of the worker's client changed
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// give queues orders.
func (b *inbox) give(orders ...order) {
	b.mu.Lock()
	b.orders = append(b.orders, orders...)
	b.mu.Unlock()
	b.poke()
}

// take returns the orders in the sequence in which they were given.
func (b *inbox) take() []order {
	b.mu.Lock()
	defer b.mu.Unlock()
	orders := b.orders
	b.orders = nil
	return orders
}

// poke wakes the worker.
func (b *inbox) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
