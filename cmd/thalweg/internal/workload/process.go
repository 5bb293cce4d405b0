package workload

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a thalweg command that serves in a process of its own.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// startBroker starts a broker on a directory and waits until it listens.
func startBroker(o Options, dir string) (*process, error) {
	args := []string{"broker", "--dir", filepath.Join(dir, "broker"), "--sync", o.Sync.String()}
	if o.BrokerProfile != "" {
		args = append(args, "--cpuprofile", o.BrokerProfile)
	}
	return startProcess(o.Program, args...)
}

// startProcess starts a command that listens, and waits until it says where. Program is the thalweg command.
func startProcess(program string, args ...string) (*process, error) {
	b := &process{cmd: exec.Command(program, append(args, "--listen", "127.0.0.1:0")...)}
	b.cmd.Stderr = os.Stderr
	out, err := b.cmd.StdoutPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("bench: start %s: %w", b.cmd, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, found := strings.CutPrefix(line, "listening on ")
	if err != nil || !found {
		return nil, errors.Join(fmt.Errorf("bench: %s said %q instead of where it listens", b.cmd, line), err, b.stop())
	}
	b.addr, _, _ = strings.Cut(addr, ",")
	return b, nil
}

// stop ends the process.
func (b *process) stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("bench: stop %s: %w", b.cmd, err)
	}
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("bench: %s: %w", b.cmd, err)
	}
	return nil
}

// pid is a process of this machine as /proc shows it; 0 is an unknown one, of which all figures are 0.
type pid int

// clockTicks is how many of the ticks in which Linux counts processor time make a second.
const clockTicks = 100

// cpu is the processor time that the process has taken so far; 0 where it is unknown.
func (p pid) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name of the program may hold spaces
	fields := strings.Fields(rest)
	const user, kernel = 11, 12 // counted from the state, which follows the name
	if len(fields) <= kernel {
		return 0
	}
	ticks := 0
	for _, field := range []string{fields[user], fields[kernel]} {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks
}

func (p pid) rssMiB() float64     { return status(strconv.Itoa(int(p)), "VmRSS:") }
func (p pid) peakRSSMiB() float64 { return status(strconv.Itoa(int(p)), "VmHWM:") }

// forgetPeak starts the peak of the process's resident memory from what it has now.
func (p pid) forgetPeak() { forgetPeakOf(strconv.Itoa(int(p))) }

// status is a size in MiB from a process's status; 0 where it is unknown.
func status(process, name string) float64 {
	text, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == name {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				return 0
			}
			return float64(kib) / 1024
		}
	}
	return 0
}

// forgetPeak starts the peak of this process's resident memory from what it has now, so that the peak leaves out what
// made the data. Where the system cannot do that, the peak stays the larger one.
func forgetPeak() { forgetPeakOf("self") }

func forgetPeakOf(process string) {
	const peakOfMemory = "5"
	_ = os.WriteFile("/proc/"+process+"/clear_refs", []byte(peakOfMemory), 0)
}

// peakRSSMiB is the peak of this process's resident memory since forgetPeak.
func peakRSSMiB() float64 {
	if peak := status("self", "VmHWM:"); peak > 0 {
		return peak
	}
	u := usage()
	return float64(u.Maxrss) / 1024
}
