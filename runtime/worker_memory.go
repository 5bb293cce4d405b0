package runtime

import (
	"fmt"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
)

// workerMemory is a worker's part of the memory limit. What is fetched is counted by its inputs.
type workerMemory struct {
	limits  *portions
	client  *kclient.Client
	outbox  *task.Outbox
	unacked int64 // bytes that were written and not acknowledged, as they are counted

	clientFetches, clientProduces int // bytes, as the client was told
}

// update counts what is written, and passes on what the part is: that changes when others come and go.
func (m *workerMemory) update() {
	n := int64(m.outbox.Bytes() + m.client.BufferedBytes())
	m.limits.produced.Use(n - m.unacked)
	m.unacked = n
	if fetch := m.limits.fetchBytes(); fetch != m.clientFetches {
		m.clientFetches = fetch
		m.client.Fetcher().SetBytesMax(fetch)
	}
	if produce := m.limits.produceBytes(); produce != m.clientProduces {
		m.clientProduces = produce
		m.client.SetProduceBytesMax(produce)
		m.outbox.SetBytesMax(m.limits.outboxBytes())
	}
}

// relieve lets tasks give memory back where the stores of the process hold too much, also tasks that are idle.
func (m *workerMemory) relieve(running []*job) error {
	if !m.limits.budget.Over() {
		return nil
	}
	for _, j := range running {
		if err := j.tx.Relieve(); err != nil {
			return fmt.Errorf("task %s: make room in memory: %w", j.id, err)
		}
	}
	return nil
}

// leave gives back what was written.
func (m *workerMemory) leave() { m.limits.produced.Use(-m.unacked) }
