package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"reflect"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/topology"
)

// Guarantee says how often a record counts.
type Guarantee uint8

// The guarantees.
const (
	// ExactlyOnce makes input offsets, outputs and state one transaction. Readers of the outputs must read committed.
	ExactlyOnce Guarantee = iota
	// AtLeastOnce may process records again after a failure: a little less latency, no transactions.
	AtLeastOnce
)

func (g Guarantee) String() string {
	if g > AtLeastOnce {
		return fmt.Sprintf("guarantee(%d)", uint8(g))
	}
	return [...]string{"exactly-once", "at-least-once"}[g]
}

// ClientOptions are options for franz-go, made with [Options]. The type hides franz-go's own, which would make each
// package that mentions a Config compile a part of that library.
type ClientOptions struct{ opts any } // nil or []kgo.Opt

// Options are options for franz-go, for Config.ClientOptions.
func Options(opts ...kgo.Opt) ClientOptions { return ClientOptions{opts} }

func franzOptions(o ClientOptions) []kgo.Opt {
	opts, _ := o.opts.([]kgo.Opt)
	return opts
}

// DefaultHeapBallastBytes is what Config.Limits.HeapBallastBytes is when it is 0. A program that opens a broker and no
// application does well to hold a slice of this size, too, without touching it: a broker has even less alive.
const DefaultHeapBallastBytes = 32 << 20

// Topics says how the topics are made that are missing when an application starts. Its internal topics, changelogs and
// repartitions, are always made. Input topics, output topics with a fixed name and the dead-letter topic are made on
// the bundled broker in this process; a line in the log names them, so that a misspelled name shows. On a cluster Run
// fails instead and says how to make them.
type Topics struct {
	// Partitions is the partition count of the input and output topics that are made. One that is read together with
	// another topic by key (a join, a merge before an aggregate) gets that one's count instead. Default 4.
	Partitions int32
	// ReplicationFactor of all topics that are made; 0 means the broker's default.
	ReplicationFactor int16
	// CreateOnCluster makes input and output topics on a cluster, too, for a program that owns its topics.
	CreateOnCluster bool
	// Config are settings of all topics that are made, such as retention.ms. They go over the built-in ones of internal
	// topics and under those of a store's own. An internal topic takes none under which it would lose what is needed:
	// cleanup.policy, message.timestamp.*, and a retention that is too short.
	Config map[string]string
	// PurgeInterval is the time between deletions of processed records from repartition topics. Expired rows are deleted
	// from changelogs every tenth time. Default 30 s.
	PurgeInterval time.Duration
}

// Alignment says how the time of operators behind a repartition goes on. Several tasks write to a repartition topic,
// each at its own pace. The time there goes no further than the slowest of them has come, so that no record is late
// because another task was faster.
type Alignment struct {
	// Timeout is after how long nobody waits any more for a task that has records and makes no progress. A warning names
	// it. Default 5 min.
	Timeout time.Duration
	// Off lets the time follow the newest record, as in Kafka Streams.
	Off bool
}

// Broker is a broker in this process: a *[thalweg/broker.Broker], into which data goes by calls. With anything else an
// application speaks the Kafka protocol over the connections that Dial returns.
type Broker interface {
	// Addr returns the broker's address, as clients are told it.
	Addr() string
	// Dial returns a new connection to the broker.
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
}

// Special values of settings.
const (
	// NeverWait is a Config.MaxIdle with which a task takes the records that it has.
	NeverWait time.Duration = -1
	// Forever is a Config.State.Retention or Config.State.ViewAgeMax without an end.
	Forever time.Duration = -1
	// NoBallast is a Config.Limits.HeapBallastBytes that leaves the collector alone.
	NoBallast int64 = -1
)

// StateConfig says where the local copies of stores lie, and how they are kept.
type StateConfig struct {
	// Dir has the local copies of stores, in a directory for each application ID. It belongs to one process at a time.
	// Set it in production, to a disk that survives restarts: what is lost there is restored from the changelogs, which
	// takes time. Empty means the user's directory for state, such as $XDG_STATE_HOME/thalweg or
	// ~/.local/state/thalweg; the log names it. A program with stores needs one of the two. While the disk is full,
	// processing continues as far as memory allows, and then waits: see [Stats].Engine and the log.
	//
	// A process that was killed is recognized by its directory when it comes back, and need not wait for the end of its
	// own session. An application without stores keeps nothing else there, and many processes of it may share a Dir.
	Dir string
	// FS is the file system of Dir; nil means the operating system's. A vfs.NewMem keeps state in memory, for tests.
	FS vfs.FS
	// Retention is how long the rows of a task stay here after it has moved to another process, in case it comes
	// back. It is counted while this process runs, and only as long as the other one has the task. Rows of volatile
	// stores stay, since nothing could bring them back. Default 10 min; [Forever] keeps them.
	Retention time.Duration
	// CheckpointInterval is at most how long committed state stays in memory before the engine (and thus a query) has
	// it. Longer combines more changes; a crash restores a little more. Default 1 s.
	CheckpointInterval time.Duration
	// ViewAgeMax is how long a [View] can be read. An older one fails with [ErrViewExpired], so that one that is left
	// open does not keep old versions of rows on the disk. Default 10 min; with [Forever] none expires.
	ViewAgeMax time.Duration
}

// StandbyConfig says which copies other processes keep of a task's state, and when a task moves to one. The settings of
// the process that leads the group count for all: give all processes the same, except for Tags.
type StandbyConfig struct {
	// Count is how many other processes keep a copy of each task's state on their disks, so that a task whose process
	// dies goes on where its copy is, and restores only what that lacks. A copy takes the disk space of the state, and
	// reads its changelogs as they grow. Stores that are volatile, or in memory alone, have no copies. Fewer processes
	// than that have fewer copies. The settings of the process that leads the group count for all: give all processes the
	// same. Default 0.
	Count int
	// Tags say where this process is, such as {"zone": "a", "rack": "12"}. 32 at most, of 128 bytes each.
	Tags map[string]string
	// SpreadTags are keys of Tags: copies of a task go to processes with other values than its own, as far as there are
	// any, so that not all of them are in one zone.
	SpreadTags []string
	// AcceptableLag is how many records of its changelogs a process may lack of a task's state before the task may move
	// there. Until then the task stays where it is, and the process copies its state (a warm-up). It bounds how long a
	// task that moves stands still. Default 10,000.
	AcceptableLag int64
	// WarmupsMax is how many tasks are copied at the same time, in the whole group, so that they can move. Default 2;
	// negative: none, a task moves at once, and stands still while its new process restores it.
	WarmupsMax int
	// ProbeInterval is after how long the group looks again whether tasks that wait for a copy may move. A process whose
	// copy is near enough makes it look at once. Default 10 min.
	ProbeInterval time.Duration
}

// Limits bound what a process holds in memory, and what it sends. [StateConfig] and [Topics] bound what lies on disks.
type Limits struct {
	// MemoryBytesMax limits the memory that applications, brokers and clients of this process hold together. There is
	// one limit per process: the application or broker that is opened first sets it, and one that sets another limit
	// afterwards fails to open. So does an application with so many workers that their parts would be too small to work
	// with; the error says what would fit, and New returns it where the application does not fit even by itself. The
	// resident memory stays within the limit and about 150 MiB for the program itself. Default: half of what the
	// container, or else the machine, has. Set it where the program needs much memory for itself: Go's own limit
	// (debug.SetMemoryLimit) is set accordingly, unless GOMEMLIMIT or the program has set one.
	//
	// The following settings are parts of it, each of which is a fraction unless it is set. Of the limit, nine tenths
	// are given out, and a byte of Go's heap counts 1.6, for garbage.
	MemoryBytesMax int64
	// BufferedBytesMax limits what is fetched and not processed, of all workers of this process; an input that has
	// its share of it, 4 MiB at most, is not fetched further. Default about a twentieth of the limit, 64 MiB at most.
	BufferedBytesMax int64
	// RestoreBytesMax limits what is fetched of changelogs and not in the stores yet. Default about a
	// twenty-seventh of the limit, 64 MiB at most.
	RestoreBytesMax int64
	// ProduceBytesMax limits what is written and not acknowledged by the broker; tasks wait above it. Default about a
	// twenty-seventh of the limit, 256 MiB at most.
	ProduceBytesMax int64
	// CacheBytesMax is the memory for the rows of all stores of this process: those that are read again, and those that
	// are written and not in the engine yet. State that fits is read and written at memory speed; beyond that a read
	// costs some microseconds. Default: three tenths of the limit, more where other parts need less.
	CacheBytesMax int64
	// BlockCacheBytesMax is the memory of the state engine, for blocks read from disk and for its memtables. Default
	// about a quarter of the limit with cgo, about a seventh without, since it lies on Go's heap then.
	BlockCacheBytesMax int64
	// HeapBallastBytes is how much garbage may pile up before Go's collector runs, beyond what GOGC allows (exactly so
	// much at its default of 100). An application without much state has a few megabytes alive, and would collect
	// hundreds of times a second. It counts as heap in Go's metrics and towards a GOMEMLIMIT, and is resident only as
	// far as it is used. Default 32 MiB; [NoBallast] means none.
	HeapBallastBytes int64
	// BatchBytes is the size from which a record batch is sent before the commit, before compression. Default 256 KiB
	// with Broker. With Seeds each partition has one batch under way at a time, so that small ones would let the network
	// set the pace: RecordBytesMax, 1 MB at most.
	BatchBytes int
	// RecordBytesMax is the largest record that is written; it must be below the max.message.bytes of the topics that
	// are written to. Larger ones follow Errors.Encode. Default 1 MB.
	RecordBytesMax int
}

// Config sets an application up. ApplicationID and one of Broker and Seeds are required.
type Config struct {
	// ApplicationID names the consumer group and begins the names of changelog and repartition topics, so it must
	// never change in an application's life. Processes with the same id share the work.
	ApplicationID string

	// Broker is the bundled broker in this process: a *broker.Broker.
	Broker Broker
	// Seeds are the host:port addresses of a cluster (Apache Kafka, or the bundled broker in another process).
	Seeds []string
	// ClientOptions are further options for franz-go, made with [Options]: TLS, SASL, a dialer of your own.
	ClientOptions ClientOptions
	// NoLocal makes data go through requests also to Broker; it is for tests and comparisons.
	NoLocal bool

	// Endpoint is where this process answers queries of others, such as host:8080. App.Processes tells it to all
	// processes of the application; the runtime itself opens nothing there. 1 KiB at most.
	Endpoint string

	// Instance is a name of this process that no other one of the application has at the same time, such as the name of
	// a pod of a stateful set (Kafka's group.instance.id). It makes the process a static member of the group: when it
	// ends by [App.Suspend], or is killed, the group keeps its tasks for it until SessionTimeout is over. A process that
	// starts with the Instance by then gets them without a rebalance, and ends at once what the other one had left
	// open. A second process that starts while the first one lives takes its place; the first one ends with an error
	// that names both. Letters, digits, '.', '_' and '-', at most 120. Default: none.
	Instance string

	// Guarantee is ExactlyOnce unless you choose otherwise.
	Guarantee Guarantee
	// Workers is how many tasks this process works on at the same time; 0 means one per CPU, at most 8. More than
	// there are partitions are idle. [App.SetWorkers] changes it while the application runs. A process gets its share of
	// the group's tasks by the number of its workers.
	Workers int
	// CommitInterval fixes the time between commits, which bounds the latency of exactly-once outputs and of tables that
	// emit on commit. A record that takes longer is committed before the next one. 0 lets it follow the load: 10 ms when
	// there is little to do, for latency, up to 100 ms when there is no end to it, since fewer commits combine more
	// changes of a key.
	CommitInterval time.Duration
	// MaxIdle is how long a task with several inputs waits for records on those that are empty, so that it can take
	// the smallest timestamp of all. 0 waits only for what is known to be in the topic already; more also waits for
	// producers, for as long as the empty inputs are known to be read to their ends. With [NeverWait] it waits for none.
	MaxIdle time.Duration
	// Alignment says how operators behind a repartition wait for the slowest of the tasks that write there.
	Alignment Alignment

	// State says where the local copies of stores lie.
	State StateConfig
	// Standbys says which copies of state are kept on other processes.
	Standbys StandbyConfig
	// Limits bound memory and sizes.
	Limits Limits
	// Topics says how topics are made.
	Topics Topics
	// Errors says what happens to records that fail. The zero value stops at the first.
	Errors topology.Errors
	// Compression of what is produced, at first none.
	Compression Compression

	// StartTimeout is how long Run's first steps wait for the broker to answer and, on a cluster, for somebody else to
	// make the input and output topics that are missing. Default 30 s.
	StartTimeout time.Duration
	// RetryTimeout is how long one request to the broker is retried before the worker rewinds and starts over.
	// Default 2 min.
	RetryTimeout time.Duration
	// CloseTimeout is how long Run goes on to commit and leave the group after its context ended. Then it returns, within
	// a second, also where a function of the program has not come back: its error says which one. What comes of the call
	// is discarded, and the state directory stays locked until it returns. Default 30 s.
	CloseTimeout time.Duration
	// SessionTimeout is after how long without a sign of life the group gives a worker's tasks to others. Default 45 s.
	SessionTimeout time.Duration
	// TransactionTimeout is after how long the broker aborts the transaction of a worker that died; its successors
	// wait for that as well as for SessionTimeout. It must be longer than a commit takes to send; calls of the program's
	// functions may take longer. Default 10 s, or SessionTimeout where that is less.
	TransactionTimeout time.Duration
	// StallTimeout is how long a worker may be without progress before the log and Hooks.Stalled say so. Default 1 min.
	StallTimeout time.Duration

	// Logger is nil for slog's default.
	Logger *slog.Logger
	// Hooks are told what happens.
	Hooks Hooks
	// Clock is the wall clock, for punctuation, commits and log lines; nil means the machine's.
	Clock func() time.Time
}

func (c Config) withDefaults() Config {
	if b := reflect.ValueOf(c.Broker); b.Kind() == reflect.Pointer && b.IsNil() {
		c.Broker = nil // a variable of type *broker.Broker that no broker was opened into
	}
	setDefault(&c.State.Dir, defaultStateDir(c.State.FS))
	setDefault(&c.Workers, min(8, goruntime.GOMAXPROCS(0)))
	setDefault(&c.State.CheckpointInterval, time.Second)
	setDefault(&c.State.ViewAgeMax, 10*time.Minute)
	setDefault(&c.Topics.PurgeInterval, 30*time.Second)
	setDefault(&c.Alignment.Timeout, 5*time.Minute)
	setDefault(&c.Limits.HeapBallastBytes, DefaultHeapBallastBytes)
	setDefault(&c.Limits.RecordBytesMax, 1_000_000)
	setDefault(&c.Limits.BatchBytes, c.batchBytes())
	setDefault(&c.Topics.Partitions, 4)
	setDefault(&c.StartTimeout, 30*time.Second)
	setDefault(&c.RetryTimeout, 2*time.Minute)
	setDefault(&c.CloseTimeout, 30*time.Second)
	setDefault(&c.SessionTimeout, 45*time.Second)
	setDefault(&c.State.Retention, 10*time.Minute)
	setDefault(&c.TransactionTimeout, min(10*time.Second, max(c.SessionTimeout, 2*c.CommitInterval)))
	setDefault(&c.StallTimeout, time.Minute)
	setDefault(&c.Standbys.AcceptableLag, 10_000)
	setDefault(&c.Standbys.WarmupsMax, 2)
	setDefault(&c.Standbys.ProbeInterval, 10*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.State.FS == nil {
		c.State.FS = vfs.Default
	}
	return c
}

// batchBytes is the default of Limits.BatchBytes.
func (c Config) batchBytes() int {
	if c.Broker != nil && !c.NoLocal {
		return 256 << 10
	}
	return max(min(c.Limits.RecordBytesMax, 1_000_000), 1<<10)
}

func (c Config) validate() error {
	errs, check := problems()
	check(c.ApplicationID != "", "ApplicationID is empty: it names the group and the internal topics")
	check(topicName(c.ApplicationID), "ApplicationID %q: letters, digits, '.', '_' and '-' only, at most %d",
		c.ApplicationID, applicationIDBytesMax)
	check(strings.Trim(c.ApplicationID, ".") != "" || c.ApplicationID == "", "ApplicationID %q: it is the name of a "+
		"directory in State.Dir, and of a topic with something behind it: it needs a letter or digit", c.ApplicationID)
	check(!strings.HasPrefix(c.ApplicationID, "__"), "ApplicationID %q: names that begin with two underscores belong to "+
		"the broker", c.ApplicationID)
	c.checkClient(check)
	check(c.Guarantee <= AtLeastOnce, "unknown Guarantee %d", c.Guarantee)
	check(c.Workers > 0 && c.Workers <= workersMost, "Workers is %d, must be from 1 to %d", c.Workers, workersMost)
	check(c.CommitInterval >= 0, "CommitInterval is %v, must not be negative", c.CommitInterval)
	positive(check, "State.CheckpointInterval", c.State.CheckpointInterval)
	positive(check, "Topics.PurgeInterval", c.Topics.PurgeInterval)
	positive(check, "Alignment.Timeout", c.Alignment.Timeout)
	positive(check, "StallTimeout", c.StallTimeout)
	check(c.TransactionTimeout >= time.Millisecond && c.TransactionTimeout <= requestTimeMost,
		"TransactionTimeout is %v, must be from 1ms to %v", c.TransactionTimeout, requestTimeMost)
	check(c.Guarantee == AtLeastOnce || c.CommitInterval < c.TransactionTimeout,
		"CommitInterval %v must be below TransactionTimeout %v", c.CommitInterval, c.TransactionTimeout)
	c.checkMemory(check)
	check(c.Limits.HeapBallastBytes <= 1<<36, "Limits.HeapBallastBytes is %d, must be at most 64 GiB",
		c.Limits.HeapBallastBytes)
	check(c.Limits.BatchBytes >= 1<<10 && c.Limits.BatchBytes <= requestBytesMost,
		"Limits.BatchBytes is %d, must be from 1 KiB to 1 GiB",
		c.Limits.BatchBytes)
	check(topicName(c.Instance) && (strings.Trim(c.Instance, ".") != "" || c.Instance == ""), "Instance %q: letters, "+
		"digits, '.', '_' and '-' only, at most %d, and not dots alone", c.Instance, applicationIDBytesMax)
	check(len(c.Endpoint) <= endpointMax, "Endpoint has %d bytes, must have at most %d", len(c.Endpoint), endpointMax)
	c.checkStandbys(check)
	if err := c.Errors.Check(); err != nil {
		check(false, "%w", err)
	}
	return errors.Join(*errs...)
}

// validateClient checks what a [Client] uses.
func (c Config) validateClient() error {
	errs, check := problems()
	c.checkClient(check)
	return errors.Join(*errs...)
}

// checkClient checks what a [Client] uses and an application, too.
func (c Config) checkClient(check func(ok bool, format string, args ...any)) {
	check(c.Broker != nil || len(c.Seeds) > 0, "neither Broker nor Seeds says where the broker is")
	check(c.Broker == nil || len(c.Seeds) == 0, "both Broker and Seeds are set: choose one")
	check(c.Limits.RecordBytesMax >= 1<<10 && c.Limits.RecordBytesMax <= requestBytesMost,
		"Limits.RecordBytesMax is %d, must be from 1 KiB to 1 GiB", c.Limits.RecordBytesMax)
	positive(check, "StartTimeout", c.StartTimeout)
	positive(check, "RetryTimeout", c.RetryTimeout)
	positive(check, "CloseTimeout", c.CloseTimeout)
	check(c.SessionTimeout >= sessionLeast && c.SessionTimeout <= requestTimeMost,
		"SessionTimeout is %v, must be from %v to %v", c.SessionTimeout, sessionLeast, requestTimeMost)
	check(c.Topics.Partitions > 0, "Topics.Partitions is %d, must be positive", c.Topics.Partitions)
	check(c.Topics.ReplicationFactor >= 0, "Topics.ReplicationFactor is %d, must not be negative",
		c.Topics.ReplicationFactor)
	check(c.Compression <= Zstd, "unknown Compression %d", c.Compression)
}

// The bounds of what requests can say: a size or a time has 32 bits there, and a member speaks up once a second.
const (
	requestBytesMost = 1 << 30
	requestTimeMost  = math.MaxInt32 * time.Millisecond
	sessionLeast     = 2 * time.Second
	workersMost      = 1 << 16
)

func positive(check func(ok bool, format string, args ...any), setting string, d time.Duration) {
	check(d > 0, "%s is %v, must be positive, or 0 for its default", setting, d)
}

// problems collects what is wrong with a configuration.
func problems() (*[]error, func(ok bool, format string, args ...any)) {
	errs := new([]error)
	return errs, func(ok bool, format string, args ...any) {
		if !ok {
			*errs = append(*errs, fmt.Errorf("runtime: config: "+format, args...))
		}
	}
}

// applicationIDBytesMax leaves room in a topic's 249 bytes for a name and its suffix.
const applicationIDBytesMax = 120

func topicName(s string) bool {
	if len(s) > applicationIDBytesMax {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
