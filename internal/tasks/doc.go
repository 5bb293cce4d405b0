// Package tasks decides which worker of a process runs which of the tasks that the group has given to the process. It
// is a pure state machine: assignments and the workers' reports go in, orders to workers come out. It has no goroutine,
// no clock and no I/O, and takes no lock.
//
// A task is with one worker at most. It is ordered to open there, and stays that worker's until the worker reports it
// closed, whatever has happened meanwhile: a release, a loss of the membership, a failure. There is one such report for
// each order to open. Only then may another worker open it, or may the group give it to another process.
//
//	           Open            Ran
//	Waiting ────────▶ Opening ──────▶ Running
//	   ▲                 │               │
//	   │                 ├──── Release ──┤ given back, or another worker's: commit, then close
//	   │                 ▼               ▼
//	   ├──── Closed ── Releasing ◀───────┘
//	   │                 │ lost meanwhile
//	   │                 ▼
//	   └──── Closed ── Dropping            lost: discard, then close
//
// A task that a worker closes by itself, since it could not be opened or the worker has gone back to its last commit,
// is Waiting again, and is opened at the time that the report says. So no failure leaves a task that nobody opens.
package tasks
