//go:build kill

package verify

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestHistoryOfProcesses records what clients see of a broker that is a process of its own: it is killed and stopped at
// any moment, and the connections to it are cut and delayed.
func TestHistoryOfProcesses(t *testing.T) { recordHistories(t, newRemote) }

// remote is a broker's process behind a proxy.
type remote struct {
	t      *testing.T
	dir    string
	proxy  *proxy
	server *server
}

func newRemote(t *testing.T, _ *rand.Rand) *site {
	p := &remote{t: t, dir: t.TempDir(), proxy: newProxy(t)}
	p.server = serve(t, p.dir, "127.0.0.1:0", "-advertise", p.proxy.addr())
	p.proxy.server = p.server.addr
	return &site{
		options: []kgo.Opt{kgo.SeedBrokers(p.proxy.addr())},
		faults: [][]fault{
			{{"kill", p.kill}, {"stop", p.stop}},
			{{"cut connections", p.cut}, {"delayed connections", p.delay}, {"lost answers", p.loseAnswers}},
		},
		close: func() {
			p.proxy.close()
			p.server.kill()
		},
	}
}

// kill is kill -9, and another process a little later.
func (p *remote) kill(r *rand.Rand) {
	p.server.kill()
	<-time.After(r.N(300 * time.Millisecond))
	p.server = serve(p.t, p.dir, p.server.addr, "-advertise", p.proxy.addr())
}

// stop lets the process stand still, sometimes for longer than clients wait for an answer.
func (p *remote) stop(r *rand.Rand) {
	p.server.signal(syscall.SIGSTOP)
	<-time.After(r.N(1500 * time.Millisecond))
	p.server.signal(syscall.SIGCONT)
}

func (p *remote) cut(*rand.Rand) { p.proxy.cut() }

func (p *remote) delay(r *rand.Rand) {
	p.proxy.hold()
	<-time.After(r.N(800 * time.Millisecond))
	if r.IntN(3) == 0 {
		p.proxy.cut()
	}
	p.proxy.flow()
}

func (p *remote) loseAnswers(r *rand.Rand) { p.proxy.deafen(r.N(100 * time.Millisecond)) }
