package runtime

import "log/slog"

// notices are what a worker tells others of its tasks: the dispatcher, the program's hooks and the log.
type notices struct {
	app    *app
	log    *slog.Logger
	worker int
}

// report tells the dispatcher what became of an order.
func (n *notices) report(kind reportKind, id TaskID, err error) {
	n.app.dispatcher.report(report{worker: n.worker, kind: kind, task: id, err: err})
}

// changed tells the program what state a task is in.
func (n *notices) changed(id TaskID, state string) {
	n.log.Debug("task "+state, "task", id.String())
	if f := n.app.cfg.Hooks.TaskChanged; f != nil {
		e := TaskEvent{Task: id, Worker: n.worker, State: state}
		n.app.hooks.add(func() { f(e) })
	}
}

// rewound tells the program that the worker goes back to its last commit.
func (n *notices) rewound(cause error) {
	if f := n.app.cfg.Hooks.Rewound; f != nil {
		n.app.hooks.add(func() { f(n.worker, cause) })
	}
}
