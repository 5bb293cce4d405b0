package op

import "slices"

// agenda is the order in which the rows of a store come due. It holds the rows that go next and looks up later ones in
// the store when it is their turn. So its memory is bounded, whatever the number of rows. A store is never searched
// while the agenda holds all of its rows.
type agenda struct {
	rows  queue[struct{}]
	count int  // rows that were added and not taken
	later bool // the store may have more rows than these: none of them comes before from
	from  wait // the first of them, when it was left out
	most  int  // rows at a time; 2 at least
	// look calls list for the rows of the store that do not come before one, or for all rows, until list returns false
	// where they come in order.
	look func(from wait, list func(wait) (more bool)) error
}

// wait is a row of a store that waits for a time, by its key.
type wait = waits[struct{}]

// agendaRowsMax is how many rows an agenda holds. When there are more, it keeps the first half.
const agendaRowsMax = 1 << 17

// add adds a row that the store has, or will have before the next row is taken.
func (a *agenda) add(w wait) {
	a.count++
	a.list(w)
}

// list holds a row if it is one of the next. It tells whether later ones would be held.
func (a *agenda) list(w wait) (more bool) {
	if a.later && !beforeWaits(w, a.from) {
		return false
	}
	pushQueue(&a.rows, w)
	if len(a.rows) > a.most {
		slices.SortFunc(a.rows, compareWaits)
		half := a.most / 2
		a.from, a.later = a.rows[half], true
		clear(a.rows[half:])
		a.rows = a.rows[:half]
	}
	return true
}

// take takes the first row, if its time is not after until.
func (a *agenda) take(until int64) (first wait, ok bool, err error) {
	if len(a.rows) == 0 && a.later && a.from.time <= until {
		from := a.from
		a.from, a.later = wait{}, false
		if err := a.look(from, a.list); err != nil {
			a.from, a.later, a.rows = from, true, nil
			return first, false, err
		}
	}
	if len(a.rows) == 0 || a.rows[0].time > until {
		return first, false, nil
	}
	a.count--
	return popQueue(&a.rows), true, nil
}
