package congestion

import "testing"

// TestJudge gives the judge answers that are right, that are allowed where
// something has happened, and that are neither.
func TestJudge(t *testing.T) {
	t.Parallel()
	const want = "1|2|T tag|D 3|C SELECT 3"
	for _, c := range []struct {
		said            string
		tx              byte
		fatal           bool
		idle, mayCancel bool
		is              outcome
	}{
		{want, 'I', false, true, false, exact},
		{want, 'T', false, true, false, wrong},
		{want, 'E', false, true, false, wrong},
		{want, 0, false, true, false, lost},
		{"1|2|T tag|D 2|C SELECT 3", 'I', false, true, true, wrong},
		{"1|2|T tag|D 4|C SELECT 3", 'I', false, true, true, wrong},
		{"1|2|T tag|D 3|C SELECT 2", 'I', false, true, true, wrong},
		{"1|2|T other|D 3|C SELECT 3", 'I', false, true, true, wrong},
		{"2|T tag|D 3|C SELECT 3", 'I', false, true, true, wrong},
		{want + "|C SELECT 3", 'I', false, true, true, wrong},
		{"E 53300", 'I', false, true, false, refused},
		{"E 57P03", 'I', false, true, false, refused},
		{"E 53300", 'I', false, false, false, wrong},
		{"E 53300", 'E', false, true, false, wrong},
		{"1|E 53300", 'I', false, true, false, wrong},
		{"1|2|T tag|D 2|E 57014", 'I', false, true, true, canceled},
		{"1|2|T tag|D 2|E 57014", 'I', false, true, false, wrong},
		{"1|2|D 2|E 57014", 'I', false, true, true, wrong},
		{"1|2|T tag|D 2|E 57P01", 0, true, true, false, lost},
		{"1|2|T tag|D 2|E 08006", 0, true, true, false, lost},
		{"1|2|T tag|D 2|E 57P01", 'I', false, true, false, wrong},
		{"1|2|D 2|E 57P01", 0, true, true, false, wrong},
		{"E 08P01", 0, true, true, true, wrong},
		{"E XX000", 'I', false, true, true, wrong},
		{"D 1", 0, false, true, true, wrong},
		{"", 0, false, true, false, lost},
		{"", 'I', false, true, true, wrong},
	} {
		a := answer{tokens(c.said), c.tx, c.fatal}
		if got := a.judge(tokens(want), 'I', c.idle, c.mayCancel); got != c.is {
			t.Errorf("%q [%s] fatal %v, idle %v, may cancel %v: %v, want %v", c.said, status(c.tx), c.fatal, c.idle, c.mayCancel, got, c.is)
		}
	}
	a := answer{said: tokens("E 22012"), tx: 'E'}
	if got := a.judge(tokens("E 22012"), 'E', false, false); got != exact {
		t.Errorf("an error that is wanted: %v", got)
	}
}
