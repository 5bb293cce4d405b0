package runtime

import (
	"thalweg/internal/kclient"
	"thalweg/internal/tasks"
)

// orders are what a worker is told to do and has not done yet.
type orders struct {
	opens    map[TaskID]kclient.Lease
	drops    []TaskID // somebody else's already
	resumes  []TaskID
	suspends []TaskID
	releases []TaskID // to be committed and closed
	retire   bool     // the worker is to end
}

// add takes orders in. It returns the tasks that are taken back before they were opened: they are not opened at all.
func (o *orders) add(given []order) (unopened []TaskID) {
	for _, g := range given {
		_, waits := o.opens[g.task]
		switch {
		case g.retire:
			o.retire = true
		case g.kind == tasks.Open:
			if o.opens == nil {
				o.opens = map[TaskID]kclient.Lease{}
			}
			o.opens[g.task] = g.lease
		case waits:
			delete(o.opens, g.task)
			unopened = append(unopened, g.task)
		case g.kind == tasks.Drop:
			o.drops = append(o.drops, g.task)
		case g.kind == tasks.Resume:
			o.resumes = append(o.resumes, g.task)
		case g.kind == tasks.Suspend:
			o.suspends = append(o.suspends, g.task)
		default:
			o.releases = append(o.releases, g.task)
		}
	}
	return unopened
}
