package main

import (
	"fmt"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// What outlives the program: two topics and two stores. Events is the only one that could not be computed again.
var (
	Commands = stream.NewTopic[string, Command]("bank-commands").Values(serde.JSON[Command]())
	Events   = stream.NewTopic[string, Event]("bank-events").Values(serde.JSON[Event]())

	deciderAccounts = state.NewKV[string, Account]("decider-accounts")
	Balances        = state.NewKV[string, Account]("balances")
)

// Command asks for something. The bank may refuse it.
type Command struct {
	Do    string `json:"do"` // open, deposit, withdraw, close
	Cents int64  `json:"cents,omitzero"`
}

// Event is what happened to an account. It is a fact: nobody changes or refuses it.
type Event struct {
	Type  string `json:"type"` // opened, deposited, withdrew, closed, refused
	Cents int64  `json:"cents,omitzero"`
	Why   string `json:"why,omitzero"` // of a refusal
}

func (e Event) String() string {
	s := e.Type
	if e.Cents != 0 {
		s += " " + money(e.Cents)
	}
	if e.Why != "" {
		s += " (" + e.Why + ")"
	}
	return s
}

func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// Account is the state that follows from the events of one account. The zero value is an account without events.
type Account struct {
	Open    bool
	Cents   int64
	Events  int // all, refusals too
	Refused int
}

// Decide answers a command with an event. It looks at the account and changes nothing.
func (a Account) Decide(c Command) Event {
	refuse := func(why string) Event { return Event{Type: "refused", Cents: c.Cents, Why: c.Do + ": " + why} }
	switch {
	case c.Do == "open" && a.Open:
		return refuse("the account is open")
	case c.Do == "open":
		return Event{Type: "opened"}
	case !a.Open:
		return refuse("there is no open account")
	case c.Do == "deposit" && c.Cents > 0:
		return Event{Type: "deposited", Cents: c.Cents}
	case c.Do == "withdraw" && c.Cents > a.Cents:
		return refuse("not enough money")
	case c.Do == "withdraw" && c.Cents > 0:
		return Event{Type: "withdrew", Cents: c.Cents}
	case c.Do == "close" && a.Cents == 0:
		return Event{Type: "closed"}
	case c.Do == "close":
		return refuse("there is money left")
	}
	return refuse("that makes no sense")
}

// line is the account in a list.
func (a Account) line(name string) string {
	return fmt.Sprintf("%7s  %-4s  open: %-5t  %d events, %d refused", money(a.Cents), name, a.Open, a.Events, a.Refused)
}

// Apply returns the account after one more event. It decides nothing.
func (a Account) Apply(e Event) Account {
	a.Events++
	switch e.Type {
	case "opened":
		a.Open = true
	case "deposited":
		a.Cents += e.Cents
	case "withdrew":
		a.Cents -= e.Cents
	case "closed":
		a.Open = false
	case "refused":
		a.Refused++
	}
	return a
}

// decider makes events of commands. The event, and the account after it, are in one transaction: two withdrawals can't
// spend the same money, and a crash can't lose one of the two.
type decider struct {
	out      *topology.Context[string, Event]
	accounts *state.KVStore[string, Account]
}

func (d *decider) Init(c *topology.Context[string, Event]) (err error) {
	d.out = c
	d.accounts, err = deciderAccounts.Open(c)
	return err
}

func (d *decider) Process(r topology.Record[string, Command]) error {
	account, _, _, err := d.accounts.Get(r.Key)
	if err != nil {
		return err
	}
	event := account.Decide(r.Value)
	if err := d.accounts.Put(r.Key, account.Apply(event), r.Timestamp); err != nil {
		return err
	}
	return d.out.Forward(topology.Record[string, Event]{Key: r.Key, Value: event, Timestamp: r.Timestamp})
}

// bank is the whole program: commands become events, and balances follow from events.
func bank() (*stream.Topology, error) {
	b := stream.NewBuilder()
	b.Stream(Commands).
		ProcessValues(func() *decider { return &decider{} }, deciderAccounts).
		To(Events)
	balances(b)
	return b.Build()
}

// rebuilt is the reading half alone. It needs nothing but the events.
func rebuilt() (*stream.Topology, error) {
	b := stream.NewBuilder()
	balances(b)
	return b.Build()
}

// balances keeps the state of each account for queries.
func balances(b *stream.Builder) {
	b.Stream(Events).
		GroupByKey().
		Aggregate(Balances,
			func() Account { return Account{} },
			func(_ string, e Event, a Account) Account { return a.Apply(e) })
}
