package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	stdruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
)

// world is a run: one broker, the processes of one application, and what feeds them.
type world struct {
	t       *testing.T
	plan    plan
	trace   *trace
	machine *machine
	driver  *host
	procs   []*process
	started int           // processes
	armed   []func(*host) // for the first one
	grown   atomic.Int32  // partitions that were added
	failed  atomic.Bool
	hurry   atomic.Bool // input comes all the time
	// running are the goroutines that end by themselves when all is closed.
	running sync.WaitGroup

	mu       sync.Mutex
	hosts    map[*host]bool
	occurred map[string]int
	// acknowledged are inputs that the broker has, as topic and value.
	acknowledged map[string]bool
}

func newWorld(t *testing.T, p plan, occurred map[string]int) *world {
	w := &world{t: t, plan: p, trace: &trace{start: time.Now()}, hosts: map[*host]bool{}, occurred: occurred,
		acknowledged: map[string]bool{}}
	disk, err := emptyDisk()
	if err != nil {
		t.Fatal(err)
	}
	w.machine = &machine{world: w, drive: newDrive(w, "broker", disk)}
	w.driver = w.newHost("driver")
	w.addHost(w.driver)
	return w
}

func (w *world) fail(format string, args ...any) {
	w.trace.add("FAILURE", format, args...)
	if !w.failed.Swap(true) { // others follow from it
		w.t.Errorf("seed %d, after %v: %s", w.plan.seed, time.Since(w.trace.start).Round(time.Millisecond),
			fmt.Sprintf(format, args...))
	}
}

func (w *world) happened(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.occurred[what]++
}

func (w *world) addHost(h *host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[h] = true
}

func (w *world) dropHost(h *host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.hosts, h)
}

func (w *world) allHosts() []*host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.hosts))
}

// cutAll cuts all connections, those of zombies too.
func (w *world) cutAll() {
	for _, h := range w.allHosts() {
		h.cut()
	}
}

// hooks count the transitions of tasks.
func (w *world) hooks(name string) runtime.Hooks {
	return runtime.Hooks{
		TaskChanged: func(e runtime.TaskEvent) {
			w.trace.add(name, "task %v %s on worker %d", e.Task, e.State, e.Worker)
			w.happened("task: " + e.State)
		},
		Rewound: func(worker int, cause error) {
			w.trace.add(name, "worker %d rewinds: %v", worker, cause)
			w.happened("worker: rewound")
		},
	}
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	standard := []kgo.Opt{
		kgo.SeedBrokers("broker:9092"), kgo.Dialer(w.driver.dial), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second),
	}
	cl, err := kgo.NewClient(append(standard, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

// run is the whole of it: start, disturb, heal, check, close.
func (w *world) run() {
	ctx := context.Background()
	w.machine.open()
	w.createTopics(ctx)
	w.prepare()
	for range w.plan.processes {
		w.join()
	}
	fed := make(chan struct{})
	w.running.Go(func() {
		defer close(fed)
		w.feed(ctx)
	})
	w.disturb()
	<-fed
	w.heal()
	w.settle(ctx)
	w.shutDown(ctx)
	w.running.Wait()
	w.checkGoroutines()
}

// afterlife is how long what Run has left behind at the end of CloseTimeout may go on.
const afterlife = 2 * time.Minute

// checkGoroutines looks for goroutines that are left. A bubble panics where there are any, and that tells less.
func (w *world) checkGoroutines() {
	pass(afterlife)
	buf := make([]byte, 16<<20)
	stacks := strings.Split(string(buf[:stdruntime.Stack(buf, true)]), "\n\n")
	own := bubble.FindString(stacks[0])
	for _, stack := range stacks[1:] {
		if first, _, _ := strings.Cut(stack, "\n"); bubble.FindString(first) == own &&
			!strings.Contains(stack, "synctest.testingSynctestTest") && !strings.Contains(first, "synctest.Run") {
			w.trace.add("world", "left: %s", stack)
			w.fail("a goroutine is left: %s", stack)
		}
	}
}

var bubble = regexp.MustCompile(`synctest bubble \d+`)

func (w *world) createTopics(ctx context.Context) {
	cl := w.client()
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for _, topic := range append(slices.Clone(w.plan.program.inputs), "outs") {
		if _, err := adm.CreateTopic(ctx, w.plan.partitions, 1, nil, topic); err != nil {
			w.fail("create topic %s: %v", topic, err)
		}
	}
}

// join adds a process.
func (w *world) join() *process {
	w.started++
	p := w.newProcess(fmt.Sprintf("process%d", w.started))
	p.armed, w.armed = w.armed, nil
	w.procs = append(w.procs, p)
	p.start()
	return p
}

const feedStep = 20 * time.Millisecond

// feed produces the input. A key stays in its partition.
func (w *world) feed(ctx context.Context) {
	r := rand.New(rand.NewPCG(w.plan.seed, 2))
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	defer cl.Close()
	pause := w.plan.length / time.Duration(w.plan.batches)
	n := 0
	for batches := 0; batches < w.plan.batches; {
		for wait := r.N(2 * pause); wait > 0 && !w.hurry.Load(); wait -= feedStep {
			pass(min(wait, feedStep))
		}
		if w.hurry.Load() {
			pass(feedStep)
		} else {
			batches++
		}
		for _, topic := range w.plan.program.inputs {
			for range r.IntN(8) {
				n++
				key := r.IntN(12)
				partition := int32(key) % w.plan.partitions
				if grown := w.grown.Load(); key > 8 && grown > 0 {
					key, partition = key+100*int(grown), w.plan.partitions+grown-1
				}
				cl.Produce(ctx, &kgo.Record{
					Topic: topic, Partition: partition, Key: fmt.Appendf(nil, "k%d", key),
					Value: fmt.Appendf(nil, "%06d", n),
				}, w.produced)
			}
		}
	}
	if err := cl.Flush(ctx); err != nil {
		w.fail("produce: %v", err)
	}
}

// produced notes what was acknowledged. What was not may be in the topic or not.
func (w *world) produced(r *kgo.Record, err error) {
	if err != nil {
		w.trace.add("driver", "produce %s to %s: %v", r.Value, r.Topic, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acknowledged[r.Topic+" "+string(r.Value)] = true
}

// checkInputs checks that everything that was acknowledged is there.
func (w *world) checkInputs(in map[string][]record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := maps.Clone(w.acknowledged)
	for topic, records := range in {
		for _, r := range records {
			delete(left, topic+" "+string(r.value))
		}
	}
	if len(left) > 0 || len(w.acknowledged) == 0 {
		return fmt.Errorf("of %d records that were acknowledged %d are lost: %v", len(w.acknowledged), len(left),
			slices.Sorted(maps.Keys(left))[:min(len(left), 10)])
	}
	return nil
}

// heal ends all faults.
func (w *world) heal() {
	w.trace.add("world", "all heals")
	w.machine.disk().Fail(nil)
	w.machine.disk().SlowSyncs(0)
	w.machine.clock.set(0)
	for _, h := range w.allHosts() {
		h.heal()
	}
	for _, p := range w.procs {
		p.drive.Fail(nil)
		p.drive.SlowSyncs(0)
		p.clock.set(0)
	}
}

const (
	// settleTime is how long an application may take, when all is well again, until its outputs are right.
	settleTime = 3 * time.Minute
	settlePoll = 2 * time.Second
)

// settle waits until outputs, rows and owners are right, and checks that the outputs stay so. A process that comes back
// late to its group may move tasks once more.
func (w *world) settle(ctx context.Context) {
	end := time.Now().Add(settleTime)
	w.awaitRight(ctx, end)
	if w.failed.Load() {
		return
	}
	pass(2 * settlePoll)
	if _, err := w.checkOutputs(ctx); err != nil {
		w.fail("after everything was right: %v", err)
	}
	w.awaitRight(ctx, end.Add(settleTime))
}

func (w *world) awaitRight(ctx context.Context, end time.Time) {
	var err error
	for time.Now().Before(end) && !w.failed.Load() {
		if err = w.check(ctx); err == nil {
			return
		}
		pass(settlePoll)
	}
	w.fail("%v after all is well again: %v", settleTime, err)
}

func (w *world) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	in, err := w.checkOutputs(ctx)
	if err != nil {
		return err
	}
	if err := w.checkOwners(); err != nil {
		return err
	}
	return w.checkRows(ctx, in, w.plan.guarantee == runtime.ExactlyOnce)
}

// checkOutputs compares the outputs with what the model makes of the inputs, which it returns.
func (w *world) checkOutputs(ctx context.Context) (map[string][]record, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	in := map[string][]record{}
	for _, topic := range w.plan.program.inputs {
		records, err := w.read(ctx, topic)
		if err != nil {
			return nil, err
		}
		in[topic] = records
	}
	if err := w.checkInputs(in); err != nil {
		return nil, err
	}
	out, err := w.read(ctx, "outs")
	if err != nil {
		return nil, err
	}
	if err := w.plan.program.compare(in, out, w.plan.guarantee == runtime.ExactlyOnce); err != nil {
		return nil, fmt.Errorf("outputs: %w", err)
	}
	return in, nil
}

// checkOwners checks that each task runs once.
func (w *world) checkOwners() error {
	owners := map[runtime.TaskID][]string{}
	for _, p := range w.procs {
		for _, worker := range p.app.Stats().Workers {
			for _, task := range worker.Tasks {
				owners[task.Task] = append(owners[task.Task], fmt.Sprintf("%s/%d:%s", p.name, worker.Worker, task.State))
			}
		}
	}
	if want := w.plan.program.tasks * int(w.plan.finalPartitions); len(owners) != want {
		return fmt.Errorf("%d tasks have owners, want %d: %v", len(owners), want, owners)
	}
	for id, of := range owners {
		if len(of) != 1 {
			return fmt.Errorf("task %v has %d owners: %v", id, len(of), of)
		}
	}
	return nil
}

// checkRows compares the rows of all processes with the model.
func (w *world) checkRows(ctx context.Context, in map[string][]record, exact bool) error {
	if w.plan.program.rows == nil {
		return nil
	}
	got := map[string]string{}
	for _, p := range w.procs {
		if err := p.app.Checkpoint(ctx); err != nil {
			return fmt.Errorf("%s: checkpoint: %w", p.name, err)
		}
		rows, err := w.plan.program.rows(p.app)
		if errors.Is(err, runtime.ErrNotHere) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: rows: %w", p.name, err)
		}
		maps.Copy(got, rows)
	}
	want := w.plan.program.rowsOf(in)
	var errs []error
	for key, row := range want {
		if exact && got[key] != row || got[key] == "" {
			errs = append(errs, fmt.Errorf("row %s is %q, want %q", key, got[key], row))
		}
	}
	for key, row := range got {
		if want[key] == "" {
			errs = append(errs, fmt.Errorf("row %s is %q, want none", key, row))
		}
	}
	return errors.Join(errs...)
}

// read returns the committed records of a topic, in the order of their partitions.
func (w *world) read(ctx context.Context, topic string) ([]record, error) {
	cl := w.client(kgo.ConsumeTopics(topic), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		err = errors.Join(err, o.Err)
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var all []record
	for len(left) > 0 && err == nil {
		fetches := cl.PollFetches(ctx)
		err = fetches.Err()
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				all = append(all, record{r.Partition, string(r.Key), slices.Clone(r.Value), r.Timestamp.UnixMilli()})
			}
		})
	}
	return all, err
}

// shutDown closes everything and looks for what is left.
func (w *world) shutDown(ctx context.Context) {
	for _, p := range w.procs {
		if p.up() && !w.plan.embedded {
			p.stop()
		}
	}
	if !w.failed.Load() {
		w.checkTransactions(ctx)
	}
	for _, p := range w.procs {
		if p.up() {
			p.stop()
		}
	}
	w.machine.close()
	for _, h := range w.allHosts() {
		h.die()
		h.cut()
	}
}

// checkTransactions checks that no transaction stays open: readers of committed records see everything.
func (w *world) checkTransactions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cl := w.client()
	defer cl.Close()
	adm := kadm.NewClient(cl)
	var open []string
	for end := time.Now().Add(10 * transactionTimeout); ; pass(time.Second) {
		open = nil
		all, err := adm.ListEndOffsets(ctx)
		if err != nil {
			w.fail("end offsets: %v", err)
			return
		}
		committed, err := adm.ListCommittedOffsets(ctx)
		if err != nil {
			w.fail("committed offsets: %v", err)
			return
		}
		all.Each(func(o kadm.ListedOffset) {
			if c, ok := committed.Lookup(o.Topic, o.Partition); !ok || c.Offset < o.Offset {
				open = append(open, fmt.Sprintf("%s/%d at %d of %d", o.Topic, o.Partition, c.Offset, o.Offset))
			}
		})
		if len(open) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	w.fail("transactions stay open: %v", open)
}

// atMost waits for something.
func atMost(d time.Duration, what <-chan struct{}) {
	select {
	case <-what:
	case <-time.After(d):
	}
}

// pass lets time go by.
func pass(d time.Duration) { <-time.After(d) }
