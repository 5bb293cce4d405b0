package assign

import (
	"cmp"
	"slices"
)

// claim is one party to an apportionment.
type claim struct {
	weight int // > 0
	has    int // can't be taken away
	wants  int // would like to keep; >= has
}

// apportion divides total among the claims by weight: each gets its exact share rounded down, and the remainder goes
// out one by one to those that were rounded: first to who has more than that already, then to who wants more, then by
// the largest fraction cut off. So each share is the exact one rounded down or up, and all of them add up to total.
func apportion(total int, claims []claim) []int {
	weights := 0
	for _, c := range claims {
		weights += c.weight
	}
	shares := make([]int, len(claims))
	left := total
	for i, c := range claims {
		shares[i] = total * c.weight / weights
		left -= shares[i]
	}
	var order []int // those whose share was rounded: never fewer than what is left
	for i, c := range claims {
		if total*c.weight%weights > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(above(claims[b].has, shares[b]), above(claims[a].has, shares[a])),
			cmp.Compare(above(claims[b].wants, shares[b]), above(claims[a].wants, shares[a])),
			cmp.Compare(total*claims[b].weight%weights, total*claims[a].weight%weights),
		)
	})
	for _, i := range order {
		if left == 0 {
			break
		}
		shares[i]++
		left--
	}
	return shares
}

func above(n, share int) int { return max(n-share, 0) }
