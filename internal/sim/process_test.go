package sim

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
)

const (
	application        = "app"
	sessionTimeout     = 6 * time.Second
	transactionTimeout = 5 * time.Second
	closeTimeout       = 10 * time.Second
	workersMost        = 4
	metadataAge        = 10 * time.Second // partitions that are added are found within it
)

// process is one of an application's. It outlives its own restarts.
type process struct {
	world  *world
	number int
	name   string
	drive  *drive
	clock  *wall
	host   *host
	armed  []func(*host) // for the next start

	app    *runtime.App
	cancel context.CancelFunc
	ended  chan error
}

func (w *world) newProcess(name string) *process {
	disk, err := emptyDisk("state", "state/"+application, "state/"+application+"/state")
	if err != nil {
		w.fail("%s: an empty disk: %v", name, err)
	}
	return &process{world: w, number: w.started, name: name, drive: newDrive(w, name, disk), clock: new(wall)}
}

// up tells whether the application runs.
func (p *process) up() bool { return p.app != nil }

// start runs the application. It fails the run where the application ends by itself.
func (p *process) start() {
	w := p.world
	p.drive.Fail(nil) // nobody starts on a full disk: it says so and ends
	p.host = w.newHost(p.name)
	for _, arm := range p.armed {
		arm(p.host)
	}
	p.armed = nil
	w.addHost(p.host)
	cfg := runtime.Config{
		ApplicationID: application, Seeds: []string{"broker:9092"},
		State:         runtime.StateConfig{Dir: "state", FS: p.drive, CheckpointInterval: w.plan.checkpointEvery},
		ClientOptions: runtime.Options(kgo.Dialer(p.host.dial), kgo.MetadataMaxAge(metadataAge)),
		Guarantee:     w.plan.guarantee, Workers: w.plan.workers, CommitInterval: w.plan.commitEvery,
		SessionTimeout:     sessionTimeout,
		TransactionTimeout: transactionTimeout, RetryTimeout: 20 * time.Second, CloseTimeout: closeTimeout,
		Limits: runtime.Limits{HeapBallastBytes: -1},
		Standbys: runtime.StandbyConfig{
			Count: w.plan.standbys, WarmupsMax: w.plan.warmupsMax, AcceptableLag: w.plan.acceptableLag,
			ProbeInterval: w.plan.probeInterval,
		},
		Topics: runtime.Topics{
			Partitions: w.plan.partitions, CreateOnCluster: true, PurgeInterval: w.plan.purgeEvery,
		},
		Clock: p.clock.Now, Hooks: w.hooks(p.name),
		Logger: w.logOf(p.name),
	}
	if w.plan.embedded {
		cfg.Seeds, cfg.ClientOptions, cfg.Broker = nil, runtime.Options(kgo.MetadataMaxAge(metadataAge)),
			w.machine.current()
	}
	if w.plan.zones > 0 {
		cfg.Standbys.Tags = map[string]string{"zone": strconv.Itoa(p.number % w.plan.zones)}
		cfg.Standbys.SpreadTags = []string{"zone"}
	}
	app, err := runtime.New(w.plan.program.build(), cfg)
	if err != nil {
		w.fail("%s: %v", p.name, err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	host := p.host
	p.app, p.cancel, p.ended = app, cancel, ended
	w.running.Go(func() {
		err := app.Run(ctx)
		w.trace.add(p.name, "ended: %v", err)
		if err != nil && !host.isDead() && !leftLate(ctx, err) {
			w.fail("%s: the application ends: %v", host.name, err)
		}
		ended <- err
	})
}

// leftLate tells that an application was stopped that could not tell its group in time, since the network was down.
func leftLate(ctx context.Context, err error) bool {
	return ctx.Err() != nil && strings.Contains(err.Error(), "Config.CloseTimeout")
}

func (h *host) isDead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dead
}

// zombieTimeMax is how long a killed process goes on.
const zombieTimeMax = 20 * time.Second

// kill cuts the process from the network. Its successor gets the disk as a crash leaves it.
func (p *process) kill(r *rand.Rand, power bool) {
	p.host.die()
	p.world.dropHost(p.host)
	old, left := p.drive, p.drive.crash(r, power)
	old.Fail(nil)
	old.SlowSyncs(0)
	p.drive = newDrive(p.world, p.name, left)
	p.bury(r.N(zombieTimeMax))
}

// bury ends what is left of an application after a while.
func (p *process) bury(after time.Duration) {
	w, name, cancel, ended := p.world, p.name, p.cancel, p.ended
	p.app = nil
	w.running.Go(func() {
		pass(after)
		cancel()
		select {
		case <-ended:
		case <-time.After(closeTimeout + 5*time.Second):
			w.fail("%s: a zombie did not end within %v of its close", name, closeTimeout+5*time.Second)
			<-ended
		}
	})
}

// stop closes the application, which leaves its group.
func (p *process) stop() {
	p.cancel()
	var err error
	select {
	case err = <-p.ended:
	case <-time.After(closeTimeout + 5*time.Second):
		p.world.fail("%s: it did not end within %v of its close", p.name, closeTimeout+5*time.Second)
		<-p.ended
	}
	p.host.die() // nothing is on it any more
	p.world.dropHost(p.host)
	p.app = nil
	if err != nil { // it holds its directory until its operating system process ends
		p.drive = newDrive(p.world, p.name, p.drive.crash(nil, false))
	}
}

// loseDisk gives the process an empty disk.
func (p *process) loseDisk() {
	disk, err := emptyDisk("state", "state/"+application, "state/"+application+"/state")
	if err != nil {
		p.world.fail("%s: an empty disk: %v", p.name, err)
		return
	}
	p.drive = newDrive(p.world, p.name, disk)
}

var _ vfs.FS = (*drive)(nil)
