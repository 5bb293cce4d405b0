// Package tasks decides which worker of a process runs which of the tasks that the group has given to the process. It
// is a pure state machine: assignments and the workers' reports go in, orders to workers come out. It has no goroutine,
// no clock and no I/O, and takes no lock.
//
// A task is with one worker at most. It is ordered to open there, and stays that worker's until the worker reports it
// closed, whatever has happened meanwhile: a release, a loss of the membership, a failure. There is one such report for
// each order to open. Only then may another worker open it.
//
//	           Open            Ran              Suspend            Suspended
//	Waiting ────────▶ Opening ──────▶ Running ──────────▶ Suspending ──────────▶ Suspended
//	   ▲                 │ ▲             │ another worker's     │ lost               │ │
//	   │                 │ └─────────────┼──────────────────────┼────── Resume ──────┘ │
//	   │                 ├──── Release ──┤                      │                      │ Release
//	   │                 ▼               ▼                      │                      │
//	   ├──── Closed ── Releasing ◀───────┴──────────────────────┼──────────────────────┘
//	   │                 │ lost meanwhile                       ▼
//	   └──── Closed ── Dropping ◀────────────────────────────────        lost: discard, then close
//
// A task that the group takes back while it runs is suspended: its worker commits it and keeps it open. From then on
// another process may have it. Where the assignment that follows gives it back, nobody has had it, and its worker goes
// on with it as it is. Otherwise it expires, and is closed. A task that is not restored yet is closed at once.
//
// A task that a worker closes by itself, since it could not be opened or the worker has gone back to its last commit,
// is Waiting again, and is opened at the time that the report says. So no failure leaves a task that nobody opens.
package tasks
