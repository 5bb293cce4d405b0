package workload

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listener returns the process that listens on a loopback address; 0 for any other address, and for another user's
// process.
func listener(addr string) pid {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	socket := listening("/proc/net/tcp", uint16(n))
	if socket == "" {
		socket = listening("/proc/net/tcp6", uint16(n))
	}
	if socket == "" {
		return 0
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "socket:["+socket+"]" {
			n, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid(n)
		}
	}
	return 0
}

// listening returns the inode of the socket that listens on a port, from a table of the kernel's.
func listening(table string, port uint16) string {
	f, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer f.Close()
	const address, state, inode = 1, 3, 9 // columns
	const listens = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > inode && fields[state] == listens && strings.HasSuffix(fields[address], suffix) {
			return fields[inode]
		}
	}
	return ""
}
