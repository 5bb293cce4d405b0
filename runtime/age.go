package runtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ages remembers when the state of each task on disk was last in step with its changelog. Compaction drops the
// tombstones of a changelog after its delete.retention.ms: a copy that was not kept up since before then would keep
// keys that were deleted, so it is wiped. The times lie in a file beside the engine:
//
//	<StateDir>/<application>/used     JSON: task → milliseconds since the epoch
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

// expired tells that tombstones may have been dropped since the state of a task was last kept up.
func (g *ages) expired(id TaskID, now time.Time, retention time.Duration) bool {
	return now.Sub(time.UnixMilli(g.used[id.String()])) > retention-2*usedEvery
}

// note writes down that the tasks are in step now.
func (g *ages) note(ids []TaskID, now time.Time) error {
	next := maps.Clone(g.used)
	for _, id := range ids {
		next[id.String()] = now.UnixMilli()
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

// noteUsed writes down which tasks are kept up here.
func (a *App) noteUsed(ids []TaskID, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.home == nil || a.home.ages == nil || len(ids) == 0 {
		return nil
	}
	return a.home.ages.note(ids, now)
}

// expired tells that a task's copy of a changelog on disk is too old to go on from.
func (a *App) expired(id TaskID, changelog string, now time.Time) bool {
	retention := defaultDeleteRetention
	for _, spec := range a.layout.internal {
		if ms, err := strconv.ParseInt(spec.Config["delete.retention.ms"], 10, 64); spec.Name == changelog && err == nil {
			retention = time.Duration(ms) * time.Millisecond
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.home.ages != nil && a.home.ages.expired(id, now, max(retention, 3*usedEvery))
}
