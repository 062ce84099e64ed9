package congestion

import (
	"fmt"
	"slices"
	"strconv"
)

// Ask returns a query's rows as text, asked as somebody who sees everything.
type Ask func(sql string) [][]string

// Aftermath compares what is in the database with what the crowd was told, and
// returns what does not fit.
func (r *Result) Aftermath(ask Ask) []string {
	c := r.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	var wrong []string
	for _, row := range ask("select tag, count(*) from crowd.undone group by tag order by 1 limit 10") {
		wrong = append(wrong, fmt.Sprintf("%s rows of %s are committed, and should have been rolled back", row[1], row[0]))
	}
	there := map[string]bool{}
	for _, row := range ask("select tag, count(*) from crowd.kept group by tag") {
		there[row[0]] = true
		if _, known := c.ledger.kept[row[0]]; !known || row[1] != "1" {
			wrong = append(wrong, fmt.Sprintf("%s rows of %s, want one (known: %v)", row[1], row[0], known))
		}
	}
	for tag, confirmed := range c.ledger.kept {
		if confirmed && !there[tag] {
			wrong = append(wrong, fmt.Sprintf("%s is not there, and its commit was confirmed", tag))
		}
	}
	n, err := strconv.Atoi(ask("select n from crowd.counter")[0][0])
	if err != nil || n < c.ledger.added || n > c.ledger.added+c.ledger.unsure {
		wrong = append(wrong, fmt.Sprintf("the counter is %d after %d additions and perhaps %d", n, c.ledger.added, c.ledger.unsure))
	}
	if lost := r.verdict.seen["lost"]; lost > c.ends {
		wrong = append(wrong, fmt.Sprintf("%d server connections were lost by clients, and only %d ended by anybody", lost, c.ends))
	}
	slices.Sort(wrong)
	return wrong
}
