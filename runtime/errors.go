package runtime

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/kclient"
)

// The kinds of errors that a caller can act on. Errors of this package wrap them: test with errors.Is. Their texts say
// what went wrong, where, and what to do. docs/errors.md lists them by symptom.
//
// Other errors have types of their own: [DamageError] for batches that cannot be read, topology.ProcessingError for
// records for which the program fails, broker.ErrClosed where the bundled broker was closed first, and the errors of
// Kafka's protocol in github.com/twmb/franz-go/pkg/kerr.
var (
	// ErrClosed: the application, the client, or the view was closed, so the call cannot be answered. Make another one.
	ErrClosed = errors.New("closed")
	// ErrUnreachable: no broker answered within Config.StartTimeout, or within Config.RetryTimeout of [Client.Send].
	// Try again, but know that what was sent may still be written: a record that is sent again may be there twice.
	ErrUnreachable = errors.New("no broker answers")
	// ErrTopicMissing: the broker has no such topic. Create it, or correct its name.
	ErrTopicMissing = errors.New("topic missing")
	// ErrTopicShape: a topic has another number of partitions than the program needs.
	ErrTopicShape = errors.New("topic has another number of partitions")
	// ErrNoOffset: a source has the reset policy none, and the group has no committed offset that the partition holds.
	ErrNoOffset = errors.New("no committed offset")
	// ErrOtherTopology: processes with another topology run under the same application ID.
	ErrOtherTopology = errors.New("another topology under the application ID")
	// ErrFenced: another process has the same Config.Instance and has taken the place of this one in the group.
	ErrFenced = errors.New("another process has this instance's place")
	// ErrStateInUse: another process, or another application of this process, holds the state directory.
	ErrStateInUse = errors.New("state directory in use")
	// ErrStateUnusable: the state directory cannot be created, locked, read, or written.
	ErrStateUnusable = errors.New("state directory unusable")
	// ErrTimeout: Config.CloseTimeout was over before everything was committed, or before a hook came back. What was not
	// committed is processed again at the next start.
	ErrTimeout = errors.New("not everything ended in time")

	// ErrRestoring: what a query asks for may be on its way to this process. A store is being restored, a global store
	// filled, or the group moves a partition and has not said yet who gets it. Ask again.
	ErrRestoring = errors.New("being restored")
	// ErrNotHere: what a query asks for is in no task of this process. The group has assigned it to another process, or
	// the application does not run. [App.Processes] says where it is.
	ErrNotHere = errors.New("not in this process")
	// ErrViewExpired: the view is older than Config.State.ViewAgeMax. Take another.
	ErrViewExpired = errors.New("the view has expired")
)

// kindError is an error of a kind. Its text is that of the error alone, which says more.
type kindError struct{ kind, err error }

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// ofKind makes an error one that errors.Is finds to be of a kind.
func ofKind(kind, err error) error {
	if err == nil {
		return nil
	}
	return &kindError{kind, err}
}

// unreachable gives an error of a connection its kind. A bundled broker that was closed does not come back, a call that
// was canceled says nothing of the broker, and a broker that answers with an error is there.
func unreachable(err error) error {
	_, answers := errors.AsType[*kerr.Error](err)
	if answers || errors.Is(err, kclient.ErrBrokerClosed) || errors.Is(err, context.Canceled) {
		return err
	}
	return ofKind(ErrUnreachable, err)
}
