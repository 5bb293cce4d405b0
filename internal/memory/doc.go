// Package memory divides the memory limit of a process among all parts of Thalweg that run in it.
//
// There is one limit per process: Config.Limits.MemoryBytesMax of the application or broker that is opened first, or
// by default half of what the container, or the machine, has. Each application and broker joins it with the
// kinds of memory that it holds, and gets a [Share] of each:
//
//	m, err := memory.Join(memory.Request{Name: "application a", BytesMax: cfg.MemoryBytesMax, Kinds: …})
//	defer m.Leave()
//	rows := m.Share(memory.Rows)
//	rows.BytesMax()    // how much may be held now; it moves when others join and leave
//	rows.Use(+4096)    // what is held: for Usage, and for the other holders of the share
//
// Members share what is of one kind: the rows of two applications have one share. A member that has set the size of a
// share by itself (Request.Fixed) has that share alone, and the others divide the rest.
//
// # Arithmetic
//
// A tenth of the limit is not divided: stacks, code, indexes and whatever nobody counts live there. Of the rest a byte
// on Go's heap costs 1.6 bytes, which leaves room for garbage between two collections, and a byte outside of it one.
// Share.BytesMax is in bytes as the holder counts them, after that division.
//
// Go's own limit (debug.SetMemoryLimit) is set to the whole limit, less what lies outside of Go's heap, plus the
// members' ballast, which counts as heap and is never touched. A program that sets GOMEMLIMIT or calls SetMemoryLimit
// keeps its own.
//
// # What a holder owes
//
// A share is a bound, not a hint: before it holds more than Share.BytesMax, a holder waits, evicts, writes to disk, or
// commits earlier. A holder that needs a minimum per task, partition or connection divides the share by their number;
// it does not multiply the minimum. A single item that is larger than the whole share passes alone. The exceptions are
// listed in ADR 0009.
//
// To add a holder, add a [Kind] with a line in the table of kinds.go, name it in the Request of the part that holds it,
// and call Use. The package is a leaf: it knows no other package of Thalweg.
package memory
