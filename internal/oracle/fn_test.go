package oracle

import (
	"fmt"
	"strconv"
	"strings"
)

// str is a key or value: nil is null.
type str = *string

func ptr(s string) str { return &s }

func show(s str) string {
	if s == nil {
		return "~"
	}
	return *s
}

// topicNamed is a name that a topic may have for one that a scenario chooses: its keys are not made for that.
func topicNamed(name string) string {
	return strings.NewReplacer("~", ".7e.", " ", ".20.").Replace(name)
}

// scenarioName undoes topicNamed.
func scenarioName(topic string) string {
	return strings.NewReplacer(".7e.", "~", ".20.", " ").Replace(topic)
}

func num(s str) int64 {
	if s == nil {
		return 0
	}
	digits := strings.TrimPrefix(*s, "-")
	if len(digits) < 1 || len(digits) > 18 || strings.Trim(digits, "0123456789") != "" {
		return int64(len(*s))
	}
	n, _ := strconv.ParseInt(*s, 10, 64)
	return n
}

func dec(n int64) str { return ptr(strconv.FormatInt(n, 10)) }

func mod(n, by int64) int64 { return ((n % by) + by) % by }

func even(s str) bool { return num(s)%2 == 0 }

func is(s str, want string) bool { return s != nil && *s == want }

// failedOn is the failure of the functions and processors named failIf.
type failedOn string

func (f failedOn) Error() string { return string(f) }

// call splits "name:argument".
func call(f string) (name, arg string, n int64) {
	name, arg, _ = strings.Cut(f, ":")
	n, _ = strconv.ParseInt(arg, 10, 64)
	return name, arg, n
}

func unknown(kind, f string) error { return fmt.Errorf("unknown %s: %s", kind, f) }

type (
	valueFn  = func(k, v str) str
	pairFn   = func(k, v str) (str, str, bool)
	joinFn   = func(k, l, r str) str
	aggFn    = func(k, v, a str) str
	reduceFn = func(a, b str) str
)

func valueFunc(f string) valueFn {
	name, arg, n := call(f)
	notNull := func(g func(v string) str) valueFn {
		return func(_, v str) str {
			if v == nil {
				return nil
			}
			return g(*v)
		}
	}
	switch name {
	case "id":
		return func(_, v str) str { return v }
	case "upper":
		return notNull(func(v string) str { return ptr(strings.ToUpper(v)) })
	case "len":
		return notNull(func(v string) str { return dec(int64(len(v))) })
	case "first":
		return func(_, v str) str { return first(v) }
	case "addKey":
		return func(k, v str) str { return ptr(show(k) + ":" + show(v)) }
	case "append":
		return notNull(func(v string) str { return ptr(v + arg) })
	case "inc":
		return notNull(func(v string) str { return dec(num(&v) + n) })
	case "mod":
		return notNull(func(v string) str { return dec(mod(num(&v), n)) })
	case "const":
		return func(_, _ str) str { return ptr(arg) }
	case "toNull":
		return func(_, _ str) str { return nil }
	case "nullIfOdd":
		return func(_, v str) str {
			if even(v) {
				return v
			}
			return nil
		}
	case "show":
		return func(_, v str) str { return ptr(show(v)) }
	case "failIf":
		return func(_, v str) str { failIf(f, arg, v); return v }
	}
	panic(unknown("value function", f))
}

func failIf(f, arg string, v str) {
	if is(v, arg) {
		panic(failedOn(f))
	}
}

func first(v str) str {
	if v == nil || *v == "" {
		return nil
	}
	return ptr((*v)[:1])
}

func predicate(f string) func(k, v str) bool {
	name, arg, n := call(f)
	switch name {
	case "even":
		return func(_, v str) bool { return even(v) }
	case "odd":
		return func(_, v str) bool { return !even(v) }
	case "hasValue":
		return func(_, v str) bool { return v != nil }
	case "hasKey":
		return func(k, _ str) bool { return k != nil }
	case "keyIs":
		return func(k, _ str) bool { return is(k, arg) }
	case "keyIn":
		return func(k, _ str) bool { return k != nil && *k != "" && strings.Contains(arg, (*k)[:1]) }
	case "valueIs":
		return func(_, v str) bool { return is(v, arg) }
	case "contains":
		return func(_, v str) bool { return v != nil && strings.Contains(*v, arg) }
	case "longer":
		return func(_, v str) bool { return v != nil && int64(len(*v)) > n }
	case "gt":
		return func(_, v str) bool { return num(v) > n }
	case "all":
		return func(_, _ str) bool { return true }
	case "none":
		return func(_, _ str) bool { return false }
	case "failIf":
		return func(_, v str) bool { failIf(f, arg, v); return true }
	}
	panic(unknown("predicate", f))
}

func keyFunc(f string) func(k, v str) str {
	name, arg, n := call(f)
	switch name {
	case "key":
		return func(k, _ str) str { return k }
	case "value":
		return func(_, v str) str { return v }
	case "first":
		return func(_, v str) str { return first(v) }
	case "const":
		return func(_, _ str) str { return ptr(arg) }
	case "prefix":
		return func(k, _ str) str { return ptr(arg + show(k)) }
	case "mod":
		return func(_, v str) str { return ptr("m" + *dec(mod(num(v), n))) }
	case "nullIfOdd":
		return func(k, v str) str {
			if even(v) {
				return k
			}
			return nil
		}
	case "null":
		return func(_, _ str) str { return nil }
	case "afterBar":
		return func(_, v str) str {
			if v == nil {
				return nil
			}
			i := strings.LastIndexByte(*v, '|')
			if i < 0 || i == len(*v)-1 {
				return nil
			}
			return ptr((*v)[i+1:])
		}
	}
	panic(unknown("key function", f))
}

// pairFunc gives ok = false for no pair.
func pairFunc(f string) pairFn {
	name, arg, n := call(f)
	switch name {
	case "same":
		return func(k, v str) (str, str, bool) { return k, v, true }
	case "swap":
		return func(k, v str) (str, str, bool) { return v, k, true }
	case "valueAsKey":
		return func(_, v str) (str, str, bool) { return v, v, true }
	case "keyAsValue":
		return func(k, _ str) (str, str, bool) { return k, k, true }
	case "modKey":
		return func(_, v str) (str, str, bool) { return ptr("m" + *dec(mod(num(v), n))), v, true }
	case "firstKey":
		return func(_, v str) (str, str, bool) { return first(v), v, true }
	case "constKey":
		return func(_, v str) (str, str, bool) { return ptr(arg), v, true }
	case "dropKey":
		return func(_, v str) (str, str, bool) { return nil, v, true }
	case "dropValue":
		return func(k, _ str) (str, str, bool) { return k, nil, true }
	case "splitKey":
		return func(k, v str) (str, str, bool) {
			if k == nil || len(*k) < 2 {
				return k, v, true
			}
			return ptr((*k)[:1]), ptr((*k)[1:2]), true
		}
	case "nullPairIf":
		return func(k, v str) (str, str, bool) { return k, v, !is(v, arg) }
	case "named":
		return func(k, v str) (str, str, bool) {
			switch {
			case is(k, "NULL"):
				return nil, nil, false
			case is(k, "null"):
				return nil, v, true
			}
			return v, v, true
		}
	}
	panic(unknown("key-value function", f))
}

type pair struct{ k, v str }

func flatPairs(f string) func(k, v str) []pair {
	switch f {
	case "wordKeys":
		return func(_, v str) (out []pair) {
			for _, w := range words(v) {
				out = append(out, pair{w, v})
			}
			return out
		}
	case "charKeys":
		return func(_, v str) (out []pair) {
			for _, c := range chars(v) {
				out = append(out, pair{c, v})
			}
			return out
		}
	case "dup":
		return func(k, v str) []pair { return []pair{{k, v}, {k, v}} }
	case "both":
		return func(k, v str) []pair { return []pair{{k, v}, {v, k}} }
	case "none":
		return func(_, _ str) []pair { return nil }
	case "dupEven":
		return func(k, v str) []pair {
			if even(v) {
				return []pair{{k, v}, {k, v}}
			}
			return nil
		}
	}
	panic(unknown("flat key-value function", f))
}

func flatValues(f string) func(v str) []str {
	switch f {
	case "words":
		return words
	case "chars":
		return chars
	case "twice":
		return func(v str) []str {
			if v == nil {
				return nil
			}
			return []str{v, ptr(*v + "'")}
		}
	case "none":
		return func(str) []str { return nil }
	case "upTo":
		return func(v str) (out []str) {
			for i := range mod(num(v), 4) {
				out = append(out, dec(i))
			}
			return out
		}
	}
	panic(unknown("flat value function", f))
}

func words(v str) (out []str) {
	if v == nil {
		return nil
	}
	for w := range strings.SplitSeq(*v, " ") {
		if w != "" {
			out = append(out, ptr(w))
		}
	}
	return out
}

func chars(v str) (out []str) {
	if v == nil {
		return nil
	}
	for i := range *v {
		out = append(out, ptr((*v)[i:i+1]))
	}
	return out
}

func joiner(f string) joinFn {
	with := func(sep string) joinFn { return func(_, l, r str) str { return ptr(show(l) + sep + show(r)) } }
	switch f {
	case "bar":
		return with("|")
	case "dash":
		return with("-")
	case "plus":
		return with("+")
	case "sum":
		return func(_, l, r str) str { return dec(num(l) + num(r)) }
	case "left":
		return func(_, l, _ str) str { return l }
	case "right":
		return func(_, _, r str) str { return r }
	case "keyed":
		return func(k, l, r str) str { return ptr(show(k) + "=" + show(l) + "|" + show(r)) }
	case "nullIfEven":
		return func(_, l, r str) str {
			if (num(l)+num(r))%2 == 0 {
				return nil
			}
			return ptr(show(l) + "|" + show(r))
		}
	}
	panic(unknown("joiner", f))
}

func initial(f string) func() str {
	name, arg, _ := call(f)
	switch name {
	case "empty":
		return func() str { return ptr("") }
	case "zero":
		return func() str { return ptr("0") }
	case "null":
		return func() str { return nil }
	case "const":
		return func() str { return ptr(arg) }
	}
	panic(unknown("initializer", f))
}

func aggregator(f string) aggFn {
	name, arg, _ := call(f)
	switch name {
	case "plus":
		return func(_, v, a str) str { return ptr(show(a) + "+" + show(v)) }
	case "minus":
		return func(_, v, a str) str { return ptr(show(a) + "-" + show(v)) }
	case "concat":
		return func(_, v, a str) str {
			if a == nil {
				return ptr(show(v))
			}
			return ptr(*a + show(v))
		}
	case "keyed":
		return func(k, v, a str) str { return ptr(show(a) + "+" + show(k) + show(v)) }
	case "sum":
		return func(_, v, a str) str { return dec(num(a) + num(v)) }
	case "sub":
		return func(_, v, a str) str { return dec(num(a) - num(v)) }
	case "count":
		return func(_, _, a str) str { return dec(num(a) + 1) }
	case "uncount":
		return func(_, _, a str) str { return dec(num(a) - 1) }
	case "max":
		return func(_, v, a str) str { return dec(max(num(a), num(v))) }
	case "min":
		return func(_, v, a str) str { return dec(min(num(a), num(v))) }
	case "last":
		return func(_, v, _ str) str { return v }
	case "keep":
		return func(_, _, a str) str { return a }
	case "remove":
		return func(_, v, a str) str {
			if a == nil {
				return nil
			}
			return ptr(strings.Replace(*a, show(v), "", 1))
		}
	case "drop":
		return func(_, v, a str) str {
			if is(v, arg) {
				return nil
			}
			return ptr(show(a) + "+" + show(v))
		}
	}
	panic(unknown("aggregator", f))
}

func reducer(f string) reduceFn {
	name, arg, _ := call(f)
	with := func(sep string) reduceFn { return func(a, b str) str { return ptr(show(a) + sep + show(b)) } }
	switch name {
	case "plus":
		return with("+")
	case "minus":
		return with("-")
	case "amp":
		return with("&")
	case "sum":
		return func(a, b str) str { return dec(num(a) + num(b)) }
	case "sub":
		return func(a, b str) str { return dec(num(a) - num(b)) }
	case "max":
		return func(a, b str) str {
			if num(a) >= num(b) {
				return a
			}
			return b
		}
	case "min":
		return func(a, b str) str {
			if num(a) <= num(b) {
				return a
			}
			return b
		}
	case "first":
		return func(a, _ str) str { return a }
	case "last":
		return func(_, b str) str { return b }
	case "drop":
		return func(a, b str) str {
			if is(b, arg) {
				return nil
			}
			return ptr(show(a) + "+" + show(b))
		}
	}
	panic(unknown("reducer", f))
}
