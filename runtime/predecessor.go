package runtime

import (
	"context"
	"strings"
	"time"

	"thalweg/internal/kclient"
)

// Client ids in the group begin with the application and the process, which is how a process that comes back after a
// crash knows those of its predecessor. The lock on the state directory, where the process' name lies, says that the
// predecessor is dead.

// clientID names a client for the broker's logs and for removePredecessor.
func (a *app) clientID(name string) string {
	if a.home == nil {
		return a.cfg.ApplicationID + "-" + name
	}
	return a.home.clientPrefix(a.cfg.ApplicationID) + name
}

func (h *home) clientPrefix(applicationID string) string {
	return applicationID + "-" + h.process + "-"
}

// removePredecessor takes the members out of the group that a crash of this process left there: without that the
// others would wait for them until their sessions end. It is a short cut, so that trouble with it is no error.
func (h *home) removePredecessor(ctx context.Context, control *kclient.Client, cfg *Config) {
	if h.lock == nil { // the name is new
		return
	}
	prefix := h.clientPrefix(cfg.ApplicationID)
	removed, err := control.RemoveMembers(ctx, cfg.ApplicationID, func(clientID string) bool {
		return strings.HasPrefix(clientID, prefix)
	})
	switch {
	case err != nil && ctx.Err() == nil:
		cfg.Logger.Warn("can't remove what a crash left in the group: waiting for its session to end", "err", err)
	case removed > 0:
		cfg.Logger.Info("removed what a crash left in the group", "members", removed)
	}
}

const (
	// tellWaitAfter is how long a process waits for its tasks in silence.
	tellWaitAfter = 3 * time.Second
	// toldMembersMax is how many members of a group a log line names.
	toldMembersMax = 10
)

// tellWait says why no tasks come, when they do not: a member that was killed keeps its place in the group until its
// session ends, and the group waits for it.
func (d *dispatcher) tellWait(ctx context.Context, control *kclient.Client, finished <-chan struct{}) {
	cfg := &d.app.cfg
	timer := time.NewTimer(tellWaitAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-finished:
		return
	case <-ctx.Done():
		return
	}
	if d.known() {
		return
	}
	ctx, cancel := until(ctx, finished)
	defer cancel()
	groups, err := control.Admin().DescribeGroups(ctx, cfg.ApplicationID)
	if err != nil {
		return // a broker that does not answer has lines of its own
	}
	var others []string
	for _, m := range groups[cfg.ApplicationID].Members {
		if !strings.HasPrefix(m.ClientID, d.app.home.clientPrefix(cfg.ApplicationID)) {
			others = append(others, m.ClientID)
		}
	}
	if len(others) == 0 {
		return
	}
	cfg.Logger.Warn("waiting for the group to hand tasks out: it waits for other members. One that was killed keeps "+
		"its place until its session ends", "application", cfg.ApplicationID, "members",
		others[:min(len(others), toldMembersMax)], "left at most", cfg.SessionTimeout-tellWaitAfter)
}
