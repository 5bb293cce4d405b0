package workload

import (
	"syscall"
	"time"
)

// clock is a moment from which time is counted, on the wall and of this process's CPUs.
type clock struct {
	wall time.Time
	cpu  syscall.Rusage
}

func startClock() clock { return clock{time.Now(), usage()} }

// spent is what has passed since a moment, in seconds.
type spent struct {
	wall, cpu float64
	kernel    float64 // the part of cpu that the kernel took
}

func (c clock) spent() spent {
	now := usage()
	kernel := now.Stime.Nano() - c.cpu.Stime.Nano()
	user := now.Utime.Nano() - c.cpu.Utime.Nano()
	return spent{
		wall: time.Since(c.wall).Seconds(), cpu: time.Duration(user + kernel).Seconds(),
		kernel: time.Duration(kernel).Seconds(),
	}
}

func (r *Result) spent(s spent) {
	r.WallSeconds, r.CPUSeconds, r.KernelSeconds = s.wall, s.cpu, s.kernel
}

func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for a bad pointer only
	return u
}
