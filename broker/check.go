package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
	"thalweg/broker/internal/txn"
	"thalweg/internal/batch"
	"thalweg/internal/dirlock"
)

// CheckReport is what Check found in a data directory.
type CheckReport struct {
	Topics, Partitions      int
	Batches, Records, Bytes int64
	Findings                []CheckFinding
}

// CheckFinding is something about a file or directory that its owner should know.
type CheckFinding struct {
	Path string
	// Damage is what a start does not repair: records are missing or can't be read. Other findings are what a crash
	// leaves, and a start clears up.
	Damage bool
	Text   string
}

// Damaged reports whether a finding is damage.
func (r *CheckReport) Damaged() bool {
	return slices.ContainsFunc(r.Findings, func(f CheckFinding) bool { return f.Damage })
}

// Check reads the data directory dir of a broker that does not run, and changes nothing in it but the files of its
// lock: all batches with checksums, offsets and records, indexes, and whether topics, groups and transactions can be
// recovered. A nil files means the operating system's. The error says why nothing could be checked: the directory is in
// use, or holds no broker's data.
func Check(files vfs.FS, dir string) (*CheckReport, error) {
	if files == nil {
		files = vfs.Default
	}
	metadata := files.PathJoin(dir, partitionDir(metadataName, 0))
	if _, err := files.Stat(metadata); err != nil {
		return nil, fmt.Errorf("broker: check %s: no broker's data directory: %w", dir, err)
	}
	lock, err := lockDir(files, dir)
	if errors.Is(err, dirlock.ErrInUse) {
		return nil, err
	}
	c := check{files: files, dir: dir, report: &CheckReport{}}
	if err := c.run(); err != nil {
		c.damage(dir, "%v", err)
	}
	if lock != nil { // else nobody can have it open for writing
		if err := lock.Close(); err != nil {
			return nil, fmt.Errorf("broker: check %s: release the lock: %w", dir, err)
		}
	}
	return c.report, nil
}

type check struct {
	files  vfs.FS
	dir    string
	report *CheckReport
}

func (c *check) damage(path, format string, args ...any) {
	c.report.Findings = append(c.report.Findings, CheckFinding{path, true, fmt.Sprintf(format, args...)})
}

func (c *check) run() error {
	machine := meta.New()
	known := map[string]bool{partitionDir(metadataName, 0): true}
	c.log(partitionDir(metadataName, 0), machine)
	if machine.ClusterID() == "" {
		c.damage(c.files.PathJoin(c.dir, partitionDir(metadataName, 0)), "the metadata does not name a cluster")
	}
	machines := map[string]coord.Machine{
		offsetsTopic: group.New(group.Config{}), txnTopic: txn.New(txn.Config{}),
	}
	topics := machine.Topics()
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		c.report.Topics++
		for i := range topics[name].Partitions {
			c.report.Partitions++
			known[partitionDir(name, i)] = true
			c.log(partitionDir(name, i), machines[name])
		}
	}
	for name, r := range machine.Removals() {
		for i := r.First; i < r.End; i++ {
			known[partitionDir(name, i)] = true
		}
	}
	c.time()
	return c.strays(known)
}

// time notes a file that does not hold the time.
func (c *check) time() {
	path := c.files.PathJoin(c.dir, timeFile)
	f, err := c.files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		_, err = readTime(f)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		c.report.Findings = append(c.report.Findings, CheckFinding{path, false,
			"does not hold the time up to which ages were counted; after the next start they continue from the last append: " +
				err.Error()})
	}
}

// log checks one log. What the broker itself keeps there is folded into a machine, unless that is nil.
func (c *check) log(name string, machine coord.Machine) {
	path := c.files.PathJoin(c.dir, name)
	var decoder batch.Decoder
	var visit func(batch.Batch) error
	if machine != nil {
		visit = func(b batch.Batch) error { return coord.Replay(machine, b, 0, &decoder, time.Time{}) }
	}
	v, err := log.Verify(c.files, path, visit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.damage(path, "the directory of the partition is missing")
		return
	case err != nil:
		c.damage(path, "%v", err)
		return
	}
	c.report.Batches += v.Batches
	c.report.Records += v.Records
	c.report.Bytes += v.Bytes
	for _, f := range v.Findings {
		c.report.Findings = append(c.report.Findings, CheckFinding(f))
	}
}

// strays notes what looks like a partition and belongs to no topic.
func (c *check) strays(known map[string]bool) error {
	names, err := c.files.List(c.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		path := c.files.PathJoin(c.dir, name)
		if known[name] || !partitionLike.MatchString(name) || !holdsLog(c.files, path, false) {
			continue
		}
		text := "belongs to no topic; the next start moves it aside"
		if strings.HasSuffix(name, deletedSuffix) {
			text = "is what is left of a deleted partition; the next start removes it"
		}
		c.report.Findings = append(c.report.Findings, CheckFinding{path, false, text})
	}
	return nil
}
