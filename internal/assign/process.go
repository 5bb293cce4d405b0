package assign

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Process is a process of an application and the tasks that it has, as the leader tells all others.
type Process struct {
	Name     string
	Endpoint string // where it answers queries; empty: nowhere
	Active   []TaskID
	Standby  []TaskID // copies of the state of tasks that other processes have, warm-ups among them
}

const (
	processesVersion    = 1
	processesReadableBy = 1
	processesMax        = 1 << 16
)

// AppendProcesses encodes which process has which tasks.
//
//	byte 0      version that wrote it = 1
//	byte 1      oldest version that can read it = 1
//	uvarint n   processes, n times, sorted by name:
//	uvarint n   process, n bytes:
//	            uvarint n, n bytes of its name | uvarint n, n bytes of its endpoint
//	            active and standby tasks, each as in a [Sent]
//	            …   a later version's fields
func AppendProcesses(dst []byte, processes []Process) []byte {
	dst = append(dst, processesVersion, processesReadableBy)
	dst = binary.AppendUvarint(dst, uint64(len(processes)))
	var one []byte
	for _, p := range processes {
		one = appendText(appendText(one[:0], p.Name), p.Endpoint)
		one = appendTasks(appendTasks(one, p.Active), p.Standby)
		dst = append(binary.AppendUvarint(dst, uint64(len(one))), one...)
	}
	return dst
}

// DecodeProcesses decodes what AppendProcesses wrote.
func DecodeProcesses(src []byte) (processes []Process, err error) {
	d, _, err := newDecoder("processes", src, processesVersion)
	if err != nil {
		return nil, err
	}
	n := d.uvarint(processesMax)
	for i := uint64(0); i < n && d.err == nil; i++ {
		one := decoder{what: d.what, src: d.bytes(uint64(len(src))), err: d.err}
		processes = append(processes, Process{
			Name: string(one.bytes(reportTextMax)), Endpoint: string(one.bytes(reportTextMax)),
			Active: one.tasks(), Standby: one.tasks(),
		})
		d.err = one.err
	}
	if d.err != nil {
		return nil, d.err
	}
	return processes, nil
}

// AddTasks adds what a member has to its process. Processes are sorted by name.
func AddTasks(processes []Process, member Process) []Process {
	at, found := slices.BinarySearchFunc(processes, member.Name, func(p Process, name string) int {
		return cmp.Compare(p.Name, name)
	})
	if !found {
		return slices.Insert(processes, at, member)
	}
	p := &processes[at]
	p.Endpoint = cmp.Or(p.Endpoint, member.Endpoint)
	p.Active, p.Standby = append(p.Active, member.Active...), append(p.Standby, member.Standby...)
	return processes
}
