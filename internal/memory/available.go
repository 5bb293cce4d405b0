package memory

import (
	"io/fs"
	"iter"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// unknownBytes is assumed where neither a container's limit nor the machine's memory can be read.
const unknownBytes = 2 << 30

// available is the memory that a process can have, of a root with proc and sys: the smallest limit of its control
// groups, or the machine's memory.
func available(root fs.FS) (total int64, of string) {
	total, of = machine(root)
	if limit, found := containerLimit(root); found && limit < total {
		return limit, "the container's limit of " + size(limit)
	}
	return total, of
}

// machine is the memory of the machine.
func machine(root fs.FS) (total int64, of string) {
	for line := range lines(root, "proc/meminfo") {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			if kib, err := strconv.ParseInt(f[1], 10, 54); err == nil && kib > 0 {
				return kib << 10, "the machine's memory of " + size(kib<<10)
			}
		}
	}
	if total := physical(); total > 0 {
		return total, "the machine's memory of " + size(total)
	}
	return unknownBytes, "an assumed memory of " + size(unknownBytes)
}

// containerLimit is the smallest limit of the control groups that the process is in, of version 1 or 2, from its own
// group up to the root.
func containerLimit(root fs.FS) (limit int64, found bool) {
	limit = math.MaxInt64
	for line := range lines(root, "proc/self/cgroup") { // number:controllers:path
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		var files []string
		switch {
		case parts[0] == "0" && parts[1] == "":
			files = []string{"memory.max", "memory.high"}
		case hasWord(parts[1], "memory"):
			files = []string{"memory.limit_in_bytes"}
		default:
			continue
		}
		for _, m := range mounts(root, parts[1] == "") {
			for dir := m.under(parts[2]); ; dir = path.Dir(dir) {
				for _, name := range files {
					if bytes, ok := number(root, path.Join(dir, name)); ok {
						limit, found = min(limit, bytes), true
					}
				}
				if dir == m.point || !strings.HasPrefix(dir, m.point+"/") {
					break
				}
			}
		}
	}
	return limit, found
}

// mount is where a hierarchy of control groups can be seen: the groups below root lie below point.
type mount struct{ root, point string }

// under is the directory of a group. One that lies outside of what can be seen, as a container's does when its path is
// the host's, is the mount's root.
func (m mount) under(group string) string {
	if m.root != "/" {
		rest, ok := strings.CutPrefix(group, m.root)
		if !ok || rest != "" && rest[0] != '/' {
			rest = ""
		}
		group = rest
	}
	return strings.TrimSuffix(path.Join(m.point, path.Clean("/"+group)), "/")
}

// mounts are the mounts of version 2, or those of version 1 that control memory.
func mounts(root fs.FS, version2 bool) []mount {
	var found []mount
	for line := range lines(root, "proc/self/mountinfo") { // id parent device root point options … - type source options
		front, back, ok := strings.Cut(line, " - ")
		f, b := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 5 || len(b) < 3 {
			continue
		}
		if version2 && b[0] == "cgroup2" || !version2 && b[0] == "cgroup" && hasWord(b[2], "memory") {
			found = append(found, mount{unescape(f[3]), strings.TrimPrefix(unescape(f[4]), "/")})
		}
	}
	return found
}

// unescape undoes what mountinfo does to spaces.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func hasWord(list, word string) bool {
	return slices.Contains(strings.Split(list, ","), word)
}

// number reads a limit; "max", and what version 1 writes for none, is no limit.
func number(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n > 0 && n < math.MaxInt64-1<<20
}

// lines are those of a file; of one that cannot be read it is an empty one.
func lines(root fs.FS, name string) iter.Seq[string] {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		text = nil
	}
	return strings.SplitSeq(string(text), "\n")
}
