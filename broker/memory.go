package broker

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/internal/memory"
)

// joinMemory makes the broker subject to the memory limit of the process.
func (b *broker) joinMemory() error {
	name := "broker in " + b.cfg.Dir
	if _, inMemory := b.cfg.FS.(*vfs.MemFS); inMemory {
		name = "broker in memory"
	}
	r := memory.Request{
		Name: name, BytesMax: b.cfg.MemoryBytesMax,
		Kinds: []memory.Kind{memory.Tails, memory.Requests, memory.Compaction},
	}
	for _, f := range []memory.Fixed{
		{Kind: memory.Tails, BytesMax: b.cfg.MaxTailBytes, Setting: "MaxTailBytes"},
		{Kind: memory.Requests, BytesMax: b.cfg.MaxBusyBytes, Setting: "MaxBusyBytes"},
	} {
		if f.BytesMax > 0 {
			r.Fixed = append(r.Fixed, f)
		}
	}
	m, err := memory.Join(r)
	if err != nil {
		return err
	}
	b.member, b.tails, b.compaction = m, m.Share(memory.Tails), m.Share(memory.Compaction)
	b.requestMemory = requestMemoryOf(m.Share(memory.Requests))
	b.tails.Divide(1)
	b.compaction.Divide(1)
	return nil
}

// requestMemory is the memory for requests of all brokers in the process. A holder of one of its parts never waits for
// another part, so frames cannot keep answers waiting, nor the other way round.
type requestMemory struct {
	share   *memory.Share
	frames  *memory.Gate // of requests that are being read or begun: a half
	answers *memory.Gate // to fetches: a quarter
	checks  *memory.Gate // what is decompressed to be checked: a quarter
	// decoding is held while a large request other than Produce is decoded, which may take many times its bytes.
	decoding sync.Mutex
}

func requestMemoryOf(share *memory.Share) *requestMemory {
	part := func(parts int64) *memory.Gate {
		return memory.NewGate(share, func() int64 { return share.BytesMax() / parts })
	}
	return share.Common(func() any {
		return &requestMemory{share: share, frames: part(2), answers: part(4), checks: part(4)}
	}).(*requestMemory)
}

func (b *broker) leaveMemory() {
	if b.member != nil {
		if b.memory != nil {
			b.tails.Use(-b.memory.Bytes())
		}
		b.tails.Divide(-1)
		b.compaction.Divide(-1)
		b.member.Leave()
	}
}
