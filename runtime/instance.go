package runtime

import (
	"context"
	"fmt"
	"os"
	"time"

	"thalweg/internal/kclient"
)

// thisProcess tells this process from others that have the same Config.Instance.
func thisProcess() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	return fmt.Sprintf("%s-pid-%d", host, os.Getpid())
}

// describeMost bounds what is asked for the text of an error.
const describeMost = 3 * time.Second

// explained says who has taken this process' place in the group, where that is why it ends. By Kafka's rule a process
// that starts takes the place of one with the same Config.Instance: the group can't know whether that is still alive.
func explained(a *app, err error) error {
	if !kclient.TookInstance(err) {
		return err
	}
	other := "another process"
	a.mu.Lock()
	control := a.control
	a.mu.Unlock()
	if control != nil {
		ctx, cancel := context.WithTimeout(context.Background(), describeMost)
		defer cancel()
		if i, ok, describeErr := control.Instance(ctx, a.cfg.ApplicationID, a.cfg.Instance); describeErr == nil && ok {
			other = i.String()
		}
	}
	return ofKind(ErrFenced,
		fmt.Errorf("two processes of application %s have the Config.Instance %q: %s has taken the place of this one "+
			"(%s) in the group: give each process an Instance of its own, or run one of the two: %w", a.cfg.ApplicationID,
			a.cfg.Instance, other, a.clientID("member-"+thisProcess()), err))
}

// endMembership leaves the group, or keeps the place for the next process with the same Config.Instance.
func endMembership(m *kclient.Member, keeps bool) {
	if keeps {
		m.Suspend()
	} else {
		m.Close()
	}
}
