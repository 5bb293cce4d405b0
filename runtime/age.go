package runtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ages remembers when the state of each task, and of each global store, on disk was last in step with its changelog.
// Compaction drops the tombstones of a changelog after its delete.retention.ms: a copy that was not kept up since
// before then would keep keys that were deleted, so it is wiped. The times lie in a file beside the engine:
//
//	<StateDir>/<application>/used     JSON: task, or global store → milliseconds since the epoch
type ages struct {
	fs   vfs.FS
	path string
	used map[string]int64
}

const (
	// defaultDeleteRetention is Apache Kafka's delete.retention.ms.
	defaultDeleteRetention = 24 * time.Hour
	// usedEvery is the time between notes of the tasks that run; the margin covers it.
	usedEvery = 10 * time.Minute
)

func openAges(fs vfs.FS, path string) *ages {
	g := &ages{fs: fs, path: path, used: map[string]int64{}}
	if text, err := readFile(fs, path); err == nil {
		if json.Unmarshal([]byte(text), &g.used) != nil {
			g.used = map[string]int64{} // unreadable: as old as can be
		}
	}
	return g
}

// expired tells that tombstones may have been dropped since the state was last kept up.
func (g *ages) expired(name string, now time.Time, retention time.Duration) bool {
	return now.Sub(time.UnixMilli(g.used[name])) > retention-2*usedEvery
}

// note writes down that what is named is in step now.
func (g *ages) note(names []string, now time.Time) error {
	next := maps.Clone(g.used)
	for _, name := range names {
		next[name] = now.UnixMilli()
	}
	text, err := json.Marshal(next)
	if err == nil {
		err = writeFile(g.fs, g.path+".new", string(text))
	}
	if err == nil {
		err = g.fs.Rename(g.path+".new", g.path)
	}
	if err != nil {
		return fmt.Errorf("state directory: %s: %w", g.path, err)
	}
	g.used = next
	return nil
}

// noteUsed writes down which tasks and global stores are kept up here.
func (a *app) noteUsed(now time.Time, names ...string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.home == nil || a.home.ages == nil || len(names) == 0 {
		return nil
	}
	return a.home.ages.note(names, now)
}

// expired tells that the copy of a topic on disk, of a task or a global store, is too old to go on from.
func (a *app) expired(name, changelog string, now time.Time) bool {
	retention := defaultDeleteRetention
	for _, spec := range a.layout.internal {
		if ms, err := strconv.ParseInt(spec.Config["delete.retention.ms"], 10, 64); spec.Name == changelog && err == nil {
			retention = time.Duration(ms) * time.Millisecond
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.home.ages != nil && a.home.ages.expired(name, now, max(retention, 3*usedEvery))
}
