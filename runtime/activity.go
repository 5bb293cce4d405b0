package runtime

import "thalweg/internal/task"

// activity is something that a goroutine of the application is at, for messages about one that makes no progress.
type activity struct {
	what string
	task *task.Task // whose functions it calls; nil: none's
}

func (a *activity) String() string {
	if a == nil {
		return "starting"
	}
	if a.task != nil {
		if where := a.task.Where(); where != "" {
			return a.what + ", at " + where
		}
	}
	return a.what
}
