// Package place is where an example runs: the bundled broker in this process or a cluster, a directory, and a plain
// Kafka client beside the application.
package place

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/runtime"
)

// Place is one of them. Broker or Seeds go into the application's configuration, and so does StateDir.
type Place struct {
	Broker   *broker.Broker // nil for a cluster
	Seeds    []string       // nil for the bundled broker
	StateDir string

	temporary string // removed at the end
}

// Open opens the bundled broker, unless brokers has the HOST:PORT addresses of a cluster, one of which has to answer.
// What has to be kept lies in dir; without one, in a directory that Close removes.
func Open(ctx context.Context, name, brokers, dir string, logger *slog.Logger) (*Place, error) {
	p := &Place{}
	if dir == "" {
		made, err := os.MkdirTemp("", name+"-")
		if err != nil {
			return nil, err
		}
		dir, p.temporary = made, made
	}
	p.StateDir = filepath.Join(dir, "state")
	if brokers != "" {
		p.Seeds = strings.Split(brokers, ",")
		if err := p.ping(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("no broker answers at %s: is it running? %w", brokers, err), p.Close())
		}
		return p, nil
	}
	b, err := broker.Open(broker.Config{Dir: filepath.Join(dir, "broker"), Logger: logger})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.Broker = b
	return p, nil
}

// Close stops the broker and removes what is temporary.
func (p *Place) Close() (err error) {
	if p.Broker != nil {
		err = p.Broker.Close()
	}
	if p.temporary != "" {
		err = errors.Join(err, os.RemoveAll(p.temporary))
	}
	return err
}

func (p *Place) ping(ctx context.Context) error {
	client, err := p.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx)
}

// Client is a plain Kafka client that reads what is committed.
func (p *Place) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableClientMetrics())
	if p.Broker != nil {
		opts = append(opts, kgo.SeedBrokers(p.Broker.Addr()), kgo.Dialer(p.Broker.Dial))
	} else {
		opts = append(opts, kgo.SeedBrokers(p.Seeds...))
	}
	return kgo.NewClient(opts...)
}

// Run runs the application as long as work works.
func Run(ctx context.Context, app *runtime.App, work func(context.Context) error) error {
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ran := make(chan error, 1)
	go func() {
		err := app.Run(ctx)
		if err != nil {
			cancel(err) // there is nothing to wait for
		}
		ran <- err
	}()
	err := work(working)
	err = errors.Join(err, app.Close(context.WithoutCancel(ctx)))
	if cause := <-ran; cause != nil {
		return fmt.Errorf("application: %w", cause)
	}
	return err
}
