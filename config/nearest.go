package config

import "strings"

// maxWord is the longest word that is compared, in bytes: the longest name.
const maxWord = maxName

// nearestWord is the candidate closest to word by edit distance, or "" when none is
// close enough to be what was meant: at most a third of the longer word, and
// always allowed one change of letter case.
func nearestWord(word string, candidates []string) string {
	best, least := "", 1<<30
	low := strings.ToLower(word)
	for _, c := range candidates {
		longer := max(len(word), len(c))
		if longer > maxWord || abs(len(word)-len(c)) > longer/3+1 {
			continue
		}
		d := distance(low, strings.ToLower(c))
		if d < least && d <= max(1, longer/3) {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment), in bytes. Neither
// is longer than maxWord.
func distance(a, b string) int {
	var rows [3][maxWord + 1]int // on the stack: this runs for every name of a large file
	before, last, row := rows[0][:len(b)+1], rows[1][:len(b)+1], rows[2][:len(b)+1]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func abs(n int) int { return max(n, -n) }
