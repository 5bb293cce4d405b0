package kclient

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTransactionVisibility(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer(b.name("txn"))
		topic := b.topic(l, "out", 2)
		tp := TopicPartition{topic, 0}

		b.produce(l, item(topic, 0, "a"), item(topic, 1, "b"))
		stable, err := l.ListOffsets(b.ctx, []TopicPartition{tp}, Latest, true)
		require.NoError(t, err)
		require.Zero(t, stable[tp], "an open transaction holds the last stable offset back")
		require.NoError(t, l.EndTxn(b.ctx, true))

		b.produce(l, item(topic, 0, "void"), item(topic, 1, "void"))
		require.NoError(t, l.EndTxn(b.ctx, false))
		b.produce(l, item(topic, 0, "c"))
		require.NoError(t, l.EndTxn(b.ctx, true))

		require.Equal(t, []string{"a", "c"}, b.all(l, tp))
		require.Equal(t, []string{"b"}, b.all(l, TopicPartition{topic, 1}))

		dirty, err := l.OpenFetcher(FetcherConfig{ReadUncommitted: true})
		require.NoError(t, err)
		defer dirty.Close()
		dirty.Set(tp, 0)
		require.Equal(t, []string{"a", "void", "c"}, b.reader(dirty).until(tp, 6))
	})
}

func TestAnEmptyTransactionIsNothing(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer(b.name("txn"))
		for range 3 {
			require.NoError(t, l.EndTxn(b.ctx, true))
			require.NoError(t, l.EndTxn(b.ctx, false))
		}
	})
}

func TestAHundredTransactions(t *testing.T) {
	for _, explicit := range []bool{false, true} {
		t.Run(fmt.Sprintf("explicit=%v", explicit), func(t *testing.T) {
			onEveryBroker(t, func(t *testing.T, b *bench) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				rng := rand.New(rand.NewPCG(seed, 1))
				l := b.open(func(c *Config) { c.TransactionalID, c.explicitTransactions = b.name("txn"), explicit })
				require.NoError(t, l.InitProducer(b.ctx))
				topic := b.topic(l, "out", 3)
				want := make(map[TopicPartition][]string)
				for i := range 100 {
					commit := rng.IntN(4) != 0
					for range 1 + rng.IntN(4) {
						p, v := rng.Int32N(3), fmt.Sprintf("%d.%d", i, rng.IntN(1000))
						require.NoError(t, l.Produce(b.ctx, []Item{item(topic, p, v, v)}))
						if commit {
							want[TopicPartition{topic, p}] = append(want[TopicPartition{topic, p}], v, v)
						}
					}
					require.NoError(t, l.EndTxn(b.ctx, commit), "transaction %d", i)
					l.TakeProduced(nil)
				}
				for p := range int32(3) {
					tp := TopicPartition{topic, p}
					require.Equal(t, want[tp], b.all(l, tp), "seed %d", seed)
				}
			})
		})
	}
}

func TestZombieIsFenced(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		zombie := b.producer(b.name("txn"))
		topic := b.topic(zombie, "out", 1)
		b.produce(zombie, item(topic, 0, "void"))

		heir := b.producer(b.name("txn"))
		b.produce(heir, item(topic, 0, "heir"))
		require.NoError(t, heir.EndTxn(b.ctx, true))

		require.NoError(t, zombie.Produce(b.ctx, []Item{item(topic, 0, "zombie")}))
		err := zombie.Flush(b.ctx)
		require.Error(t, err)
		require.Equal(t, Fenced, ClassOf(err), "%v", err)
		require.Equal(t, Fenced, ClassOf(zombie.EndTxn(b.ctx, true)))
		require.Equal(t, Fenced, ClassOf(zombie.EndTxn(b.ctx, false)))
		require.Equal(t, []string{"heir"}, b.all(heir, TopicPartition{topic, 0}))

		require.NoError(t, zombie.InitProducer(b.ctx))
		b.produce(zombie, item(topic, 0, "back"))
		require.NoError(t, zombie.EndTxn(b.ctx, true))
		require.Equal(t, []string{"heir", "back"}, b.all(heir, TopicPartition{topic, 0}))
	})
}

func TestOffsetsAreCommittedWithTheirTransaction(t *testing.T) {
	for _, explicit := range []bool{false, true} {
		t.Run(fmt.Sprintf("explicit=%v", explicit), func(t *testing.T) {
			onEveryBroker(t, func(t *testing.T, b *bench) {
				admin := b.open(nil)
				topic := b.topic(admin, "in", 2)
				l := b.open(func(c *Config) {
					c.Group, c.Topics, c.TransactionalID = b.name("group"), []string{topic}, b.name("txn")
					c.explicitTransactions = explicit
				})
				require.NoError(t, l.InitProducer(b.ctx))
				tps := []TopicPartition{{topic, 0}, {topic, 1}}
				require.Equal(t, tps, b.event(l, Assigned).Partitions)

				offsets := func(next int64) []Offset {
					return []Offset{{tps[0], next, -1, "time 7"}, {tps[1], next + 100, -1, ""}}
				}
				committed := func() [2]int64 {
					got, err := l.CommittedOffsets(b.ctx, tps)
					require.NoError(t, err)
					return [2]int64{got[tps[0]].Next, got[tps[1]].Next}
				}
				require.Equal(t, [2]int64{-1, -1}, committed())

				require.NoError(t, l.SendOffsets(b.ctx, offsets(5)))
				require.NoError(t, l.EndTxn(b.ctx, false))
				require.Equal(t, [2]int64{-1, -1}, committed())

				require.NoError(t, l.SendOffsets(b.ctx, offsets(7)))
				require.NoError(t, l.EndTxn(b.ctx, true))
				require.Equal(t, [2]int64{7, 107}, committed())
				got, err := l.CommittedOffsets(b.ctx, tps)
				require.NoError(t, err)
				require.Equal(t, "time 7", got[tps[0]].Metadata)
			})
		})
	}
}

func TestCommitOfAnOldGenerationIsFenced(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic := b.topic(admin, "in", 1)
		l := b.member(b.name("group"), b.name("txn"), topic)
		require.NoError(t, l.InitProducer(b.ctx))
		b.event(l, Assigned)
		offsets := []Offset{{TopicPartition{topic, 0}, 3, -1, ""}}
		require.NoError(t, l.CommitOffsets(b.ctx, offsets))
		l.offsets.cfg.SessionTimeout = 100 * time.Millisecond // it waits for a newer generation, and there is none

		err := l.offsets.send(b.ctx, "old", offsets, func(member string, generation int32) kmsg.Request {
			return l.offsets.commitRequest(offsets, member, generation-1)
		})
		require.ErrorIs(t, err, kerr.IllegalGeneration)
		require.Equal(t, Fenced, ClassOf(err))

		p := l.producer
		err = l.offsets.send(b.ctx, "old", offsets, func(member string, generation int32) kmsg.Request {
			return l.offsets.txnCommitRequest(offsets, p.id, p.epoch, member, generation-1)
		})
		require.Equal(t, Fenced, ClassOf(err), "%v", err)

		l.offsets.cfg.SessionTimeout = time.Hour // but who has lost the membership does not wait
		err = l.offsets.send(b.ctx, "old", offsets, func(member string, generation int32) kmsg.Request {
			l.member.group.lose()
			return l.offsets.commitRequest(offsets, member, generation-1)
		})
		require.ErrorIs(t, err, kerr.IllegalGeneration)
		require.NoError(t, b.ctx.Err())
	})
}

func TestMetadataThatIsTooLargeIsExplained(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		topic := b.topic(b.open(nil), "in", 1)
		l := b.member(b.name("group"), b.name("txn"), topic)
		require.NoError(t, l.InitProducer(b.ctx))
		b.event(l, Assigned)
		offsets := []Offset{{TopicPartition{topic, 0}, 3, -1, strings.Repeat("m", 5000)}}
		for _, commit := range []func(context.Context, []Offset) error{l.CommitOffsets, l.SendOffsets} {
			err := commit(b.ctx, offsets)
			require.Equal(t, Fatal, ClassOf(err), "a retry does not help")
			require.ErrorContains(t, err, topic+"-0")
			require.ErrorContains(t, err, "raise offset.metadata.max.bytes")
		}
	})
}

// TestConsumeProcessProduce is a worker's life in small: read, write and commit in one transaction, with aborts
// that go back, over two members of which the second joins in the middle.
func TestConsumeProcessProduce(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		feeder := b.producer("")
		in, out := b.topic(feeder, "in", 2), b.topic(feeder, "out", 1)
		l := b.member(b.name("group"), b.name("txn"), in)
		require.NoError(t, l.InitProducer(b.ctx))
		assigned := b.event(l, Assigned).Partitions
		require.Len(t, assigned, 2)
		for _, tp := range assigned {
			l.Fetcher().Set(tp, 0)
		}
		const n = 20
		for i := range n {
			b.produce(feeder, item(in, int32(i%2), fmt.Sprint(i)))
		}
		r := b.reader(l.Fetcher())
		position := map[TopicPartition]int64{}
		for round, wrote := 0, 0; wrote < n; round++ {
			var items []Item
			var offsets []Offset
			r.take()
			for _, tp := range assigned {
				if values := r.values[tp]; len(values) > 0 {
					items = append(items, item(out, 0, values...))
					offsets = append(offsets, Offset{tp, r.next[tp], -1, ""})
				}
			}
			if len(items) == 0 {
				continue
			}
			require.NoError(t, l.Produce(b.ctx, items))
			require.NoError(t, l.SendOffsets(b.ctx, offsets)) // while the produce is under way
			commit := round%3 != 1
			require.NoError(t, l.EndTxn(b.ctx, commit))
			for _, it := range l.TakeProduced(nil) {
				if commit {
					wrote += it.Builder.Len()
				}
			}
			clear(r.values)
			for _, tp := range assigned {
				if commit {
					position[tp] = r.next[tp]
				} else {
					delete(r.next, tp)
					l.Fetcher().Set(tp, position[tp])
				}
			}
		}
		require.ElementsMatch(t, numbered("", n), b.all(feeder, TopicPartition{out, 0}))
	})
}
