package runtime

import (
	"context"
	"strings"

	"thalweg/internal/link"
)

// Client ids in the group begin with the application and the process, which is how a process that comes back after a
// crash knows those of its predecessor. The lock on the state directory, where the process' name lies, says that the
// predecessor is dead.

// clientID names a link for the broker's logs and for removePredecessor.
func (a *app) clientID(name string) string {
	if a.home == nil {
		return a.cfg.ApplicationID + "-" + name
	}
	return a.clientPrefix() + name
}

func (a *app) clientPrefix() string { return a.cfg.ApplicationID + "-" + a.home.process + "-" }

// removePredecessor takes the members out of the group that a crash of this process left there: without that the
// others would wait for them until their sessions end. It is a short cut, so that trouble with it is no error.
func (a *app) removePredecessor(ctx context.Context, control *link.Link) {
	if a.home.lock == nil { // the name is new
		return
	}
	prefix := a.clientPrefix()
	removed, err := control.RemoveMembers(ctx, a.cfg.ApplicationID, func(clientID string) bool {
		return strings.HasPrefix(clientID, prefix)
	})
	switch {
	case err != nil && ctx.Err() == nil:
		a.cfg.Logger.Warn("can't remove what a crash left in the group: waiting for its session to end", "err", err)
	case removed > 0:
		a.cfg.Logger.Info("removed what a crash left in the group", "members", removed)
	}
}
