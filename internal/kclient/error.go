package kclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

// Class says what an error asks its receiver to do.
type Class uint8

const (
	// Canceled: the caller's own context ended, or the client was closed.
	Canceled Class = iota
	// Abort: abort the transaction, go back to the last commit and go on. Without transactions: call InitProducer,
	// go back to the last committed offsets and go on.
	Abort
	// Fenced: another producer or member has this one's place, or the outcome of a commit is unknown. Drop the
	// tasks, call InitProducer, wait for the group's next assignment and read the committed offsets again.
	Fenced
	// Fatal: nothing that the program can do by itself helps.
	Fatal
)

func (c Class) String() string { return [...]string{"canceled", "abort", "fenced", "fatal"}[c] }

// Error is an error whose class is known.
type Error struct {
	Class Class
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrClosed is returned by what a client is asked after Close.
var ErrClosed = errors.New("kclient: closed")

// OutOfRangeError says that a partition does not hold the offset that was to be fetched. The partition waits for
// another Set.
type OutOfRangeError struct {
	TopicPartition
	Offset             int64 // asked for
	LogStart, EndAfter int64 // of the partition, which has LogStart up to EndAfter-1
}

func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("kclient: fetch %s: offset %d is outside of what the partition holds, %d to %d",
		e.TopicPartition, e.Offset, e.LogStart, e.EndAfter-1)
}

// RecreatedError says that a topic is another one than before, under the same name. The partition waits for another
// Set.
type RecreatedError struct {
	TopicPartition
	Was, Now TopicID
}

// Recreated is the error of a partition of a topic that was deleted and recreated. What was known of it is void: it is
// Fenced.
func Recreated(tp TopicPartition, was, now TopicID) error {
	return &Error{Fenced, &RecreatedError{tp, was, now}}
}

func (e *RecreatedError) Error() string {
	return fmt.Sprintf("kclient: fetch %s: the topic was deleted and recreated: its id was %x, and is %x",
		e.TopicPartition, e.Was, e.Now)
}

// PartitionsError says that an internal topic has another number of partitions than the topology needs.
type PartitionsError struct {
	Topic     string
	Has, Need int32
}

func (e *PartitionsError) Error() string {
	return fmt.Sprintf("kclient: internal topic %q has %d partitions, the topology needs %d: reset the application "+
		"(Client.Reset) and remove its state directories, or choose another application id", e.Topic, e.Has, e.Need)
}

// ClassOf tells what to do about an error of this package. Errors of others, such as a full disk's, are Fatal.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	if errors.Is(err, ErrClosed) || errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, context.Canceled) {
		return Canceled
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Abort
	}
	if e, ok := errors.AsType[*kerr.Error](err); ok {
		return classOfCode(e)
	}
	return Fatal
}

// classified gives an error of a request its class. Here, and only here, an error that nobody knows comes from a
// connection: after the retries, going back and trying again is what is left.
func classified(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	class := ClassOf(err)
	if class == Fatal && isRetriable(err) {
		class = Abort
	}
	return &Error{class, err}
}

func classOfCode(err *kerr.Error) Class {
	switch err {
	case kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.TransactionalIDNotFound,
		kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress, kerr.StaleMemberEpoch,
		kerr.FencedMemberEpoch:
		return Fenced
	case kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerIDMapping,
		kerr.InvalidTxnState, kerr.TransactionAbortable, kerr.ConcurrentTransactions,
		kerr.DuplicateSequenceNumber:
		return Abort
	}
	if err.Retriable {
		return Abort
	}
	return Fatal
}

// IsRefusal tells that a broker does not take what was produced because of what is in it: a time out of the topic's
// bounds, a size, a missing key. The same records are refused each time.
func IsRefusal(err error) bool {
	return errors.Is(err, kerr.InvalidTimestamp) || errors.Is(err, kerr.MessageTooLarge) ||
		errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
}

// IsDamage tells that a batch cannot be read, as it came or by what the broker says of its log.
func IsDamage(err error) bool {
	return isAny(err, []error{batch.ErrCorrupt, batch.ErrMagic, kerr.CorruptMessage})
}

// isRetriable tells whether sending the same request again, after a pause and with fresh metadata, may help.
func isRetriable(err error) bool {
	if err == nil || isAny(err, []error{ErrClosed, kgo.ErrClientClosed, direct.ErrClosed}) {
		return false
	}
	if e, ok := errors.AsType[*kerr.Error](err); ok {
		// The coordinator is still busy with the transaction before: a matter of milliseconds.
		return e.Retriable || e == kerr.ConcurrentTransactions
	}
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) &&
		!isConfigurationError(err)
}

// unknownTopicMax is how long a topic that the broker doesn't know is retried: brokers of a cluster learn of a new
// topic one after the other, but a name that is wrong stays so.
const unknownTopicMax = 10 * time.Second

func isUnknownTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// isConfigurationError tells that a connection fails for a reason that stays.
func isConfigurationError(err error) bool {
	return errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) ||
		errors.Is(err, kerr.UnsupportedVersion)
}

const adviceClosed = "; close the application and its clients before the broker"

// ErrBrokerClosed says that the bundled broker in this process was closed: it does not open again.
var ErrBrokerClosed = fmt.Errorf("%w"+adviceClosed, direct.ErrClosed)

// advice returns what to do about an error that nothing else says it about.
func advice(err error) string {
	e, ok := errors.AsType[*kerr.Error](err)
	if errors.Is(err, direct.ErrClosed) {
		return adviceClosed
	}
	if !ok {
		return ""
	}
	switch e {
	case kerr.MessageTooLarge, kerr.RecordListTooLarge:
		return "; raise max.message.bytes of the topic, or make smaller records"
	case kerr.InvalidTimestamp:
		return "; give the records times within message.timestamp.before.max.ms and message.timestamp.after.max.ms of the" +
			" topic, or raise these"
	case kerr.InvalidRecord:
		return "; a compacted topic takes no records without a key"
	case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed:
		return "; give this client's user the rights to it"
	case kerr.CorruptMessage:
		return "; the broker's log is damaged there, and its messages say in which file"
	case kerr.UnknownTopicOrPartition, kerr.UnknownTopicID:
		return "; create the topic, or check its name"
	case kerr.OffsetMetadataTooLarge:
		return "; the metadata has up to 4096 characters: raise offset.metadata.max.bytes of the cluster"
	case kerr.InvalidTransactionTimeout:
		return "; choose a transaction timeout below the broker's transaction.max.timeout.ms"
	}
	return ""
}
