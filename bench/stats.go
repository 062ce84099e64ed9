package main

import (
	"math"
	"slices"
)

// median of the values; NaN of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Clone(v)
	slices.Sort(s)
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m]
	}
	return (s[m-1] + s[m]) / 2
}

// spread is (max − min) / median: how much the rounds disagree.
func spread(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return (slices.Max(v) - slices.Min(v)) / median(v)
}

// ratio compares two legs: the quotient of their medians, and the least and the
// greatest quotient within one round, where both legs ran next to each other.
type ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Rounds int     `json:"rounds"` // that have both legs
}

// compare divides a by b. Keys are rounds. It reports false when no round has
// both, or when a divisor is zero.
func compare(a, b map[int]float64) (ratio, bool) {
	r := ratio{Min: math.Inf(1), Max: math.Inf(-1)}
	var as, bs []float64
	for round, x := range a {
		y, ok := b[round]
		if !ok {
			continue
		}
		if y == 0 {
			return ratio{}, false
		}
		as, bs = append(as, x), append(bs, y)
		r.Min, r.Max = min(r.Min, x/y), max(r.Max, x/y)
		r.Rounds++
	}
	if r.Rounds == 0 || median(bs) == 0 {
		return ratio{}, false
	}
	r.Median = median(as) / median(bs)
	return r, true
}
