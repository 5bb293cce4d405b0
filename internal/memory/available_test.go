package memory

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const (
	meminfo = "MemTotal:       16777216 kB\nMemFree:  1 kB\n"
	mount2  = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	mount1  = "33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"34 25 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
)

func TestAvailable(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		bytes int64
		of    string
	}{
		"nothing": {nil, unknownBytes, "an assumed memory of 2 GiB"},
		"machine": {map[string]string{"proc/meminfo": meminfo}, 16 << 30, "the machine's memory of 16 GiB"},
		"meminfo is damaged": {map[string]string{"proc/meminfo": "MemTotal: many kB\n"}, unknownBytes,
			"an assumed memory of 2 GiB"},
		"version 2, a container": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/memory.max": "536870912\n", "sys/fs/cgroup/memory.high": "max\n",
		}, 512 << 20, "the container's limit of 512 MiB"},
		"version 2, no limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/user.slice\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/user.slice/memory.max": "max\n",
		}, 16 << 30, "the machine's memory of 16 GiB"},
		"version 2, a parent's limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b/c\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/a/b/c/memory.max": "4294967296\n", "sys/fs/cgroup/a/memory.max": "1073741824\n",
		}, 1 << 30, "the container's limit of 1 GiB"},
		"version 2, memory.high is lower": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/a/memory.max": "4294967296\n", "sys/fs/cgroup/a/memory.high": "2147483648\n",
		}, 2 << 30, "the container's limit of 2 GiB"},
		"version 2, mounted in part": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/pods/one/main\n",
			"proc/self/mountinfo":               "25 1 0:22 /pods/one /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n",
			"mnt/my groups/main/memory.max":     "805306368\n",
			"mnt/my groups/pods/one/memory.max": "1\n",
		}, 768 << 20, "the container's limit of 768 MiB"},
		"version 1": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n",
			"proc/self/mountinfo": mount1, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "268435456\n",
			"sys/fs/cgroup/cpu/x/memory.limit_in_bytes": "1\n",
		}, 256 << 20, "the container's limit of 256 MiB"},
		"version 1, the host's path in a container": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/docker/abc\n",
			"proc/self/mountinfo": "33 25 0:29 /docker/abc /sys/fs/cgroup/memory ro " +
				"- cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
		}, 256 << 20, "the container's limit of 256 MiB"},
		"version 1, another namespace's path": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/kube/pod1\n", "proc/self/mountinfo": mount1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
		}, 256 << 20, "the container's limit of 256 MiB"},
		"version 1, no limit": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": mount1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 16 << 30, "the machine's memory of 16 GiB"},
		"both versions": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/a\n0::/a\n", "proc/self/mountinfo": mount1 +
				"42 25 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1073741824\n",
		}, 1 << 30, "the container's limit of 1 GiB"},
		"more than the machine has": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/memory.max": "1099511627776\n",
		}, 16 << 30, "the machine's memory of 16 GiB"},
		"damaged": {map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "what\n0::/\n", "proc/self/mountinfo": "1 2\n - \n" + mount2,
			"sys/fs/cgroup/memory.max": "lots\n",
		}, 16 << 30, "the machine's memory of 16 GiB"},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for path, text := range c.files {
				root[path] = &fstest.MapFile{Data: []byte(text)}
			}
			bytes, of := available(root)
			require.Equal(t, c.bytes, bytes)
			require.Equal(t, c.of, of)
		})
	}
}
