package broker

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/direct"
	"thalweg/internal/memory"
)

// Stats is what a broker does and holds at a moment. Counters count from Open on. A deleted topic does not count, even
// while its files are still being removed.
type Stats struct {
	Topics, Partitions int
	// OfflinePartitions could not be opened, or have failed since. Their clients get KAFKA_STORAGE_ERROR; the log says
	// why.
	OfflinePartitions int
	// Connections are open: over TCP and within the process.
	Connections int
	// BytesIn and BytesOut count requests and answers of connections, and the batches of calls of Produce and Fetch.
	BytesIn, BytesOut int64
	// OpenFiles are those of the logs.
	OpenFiles int
	Fsyncs    FsyncStats
	// RefusedBatches counts what Produce has refused, by the name of the protocol's error, such as
	// NOT_ENOUGH_REPLICAS. All batches of a request for one partition count as one.
	RefusedBatches map[string]int64
	// MemoryBytes is what is held of the memory limit of the process, by use: "tails", recent appends of this broker;
	// "requests", with answers, and "compaction", of all brokers of the process.
	MemoryBytes map[string]int64
}

// FsyncStats counts the calls that synced files and directories of the logs to the disk.
type FsyncStats struct {
	Count   int64
	Total   time.Duration // of all of them; some run at the same time
	Longest time.Duration
}

// counters are the parts of Stats that nothing else counts.
type counters struct {
	bytesIn, bytesOut atomic.Int64
	fetched           atomic.Int64 // looks of fetches at partitions

	mu      sync.Mutex
	refused map[string]int64
}

// refuse counts the results that are errors.
func (c *counters) refuse(results []direct.ProduceResult) {
	for i := range results {
		if err := results[i].Err; err != nil {
			c.refuseOne(err)
		}
	}
}

func (c *counters) refuseOne(err error) {
	known := kerr.UnknownServerError
	errors.As(err, &known)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[string]int64{}
	}
	c.refused[known.Message]++
}

// produced counts a call of Produce.
func (c *counters) produced(parts []producePart, results []direct.ProduceResult) {
	bytes := 0
	for i := range parts {
		bytes += len(parts[i].batches)
	}
	c.bytesIn.Add(int64(bytes))
	c.refuse(results)
}

func (b *broker) Stats() Stats {
	c := &b.counters
	s := Stats{
		Connections: b.server.open(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Fsyncs: FsyncStats(b.syncer.Fsyncs()), OpenFiles: b.files.Open(),
		MemoryBytes: map[string]int64{
			memory.Tails.String(): b.memory.Bytes(), memory.Requests.String(): b.requestMemory.share.UsedBytes(),
			memory.Compaction.String(): b.compaction.UsedBytes(),
		},
	}
	for _, t := range b.topics.load().byName {
		s.Topics++
		for _, p := range t.partitions {
			s.Partitions++
			if p.log == nil || p.log.Err() != nil {
				s.OfflinePartitions++
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.RefusedBatches = maps.Clone(c.refused)
	return s
}
