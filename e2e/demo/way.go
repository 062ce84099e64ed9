package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
)

// way is one way to a database.
type way struct {
	database string
	title    string
	seenAs   string        // the address the database must see
	behind   *kit.Postgres // the server itself, which the superuser asks
	direct   []attempt
	also     func() (string, error) // a further thing to show and check
}

// attempt is one try of the writer to do without the gateway.
type attempt struct {
	how    string
	as     writer
	refuse func(error) bool // whether this is the refusal expected
}

func ways(p *parts) []way {
	from := func(ip string, port int, database, user, password string) writer {
		return writer{
			host: "127.0.0.1", port: port, database: database, user: user, password: password,
			machine: net.ParseIP(ip), requireTLS: true,
		}
	}
	both := func(pg *kit.Postgres, database, password string) []attempt {
		return []attempt{
			{"with its own login", from(writerAddress, pg.Port, database, writerName, p.writerPassword), sqlState("28000")},
			{"even with the database's", from(writerAddress, pg.Port, database, upstreamRole, password), sqlState("28000")},
		}
	}
	return []way{
		{
			database: "orders", title: "straight, from the gateway's one address", seenAs: gatewayAddress, behind: p.orders,
			direct: both(p.orders, "orders", p.ordersPassword),
		},
		{
			database: "billing", title: "through an SSH bastion", seenAs: bastionAddress, behind: p.billing,
			direct: both(p.billing, "billing", p.billingPassword),
			also:   p.bastionSaw,
		},
		{
			database: "events", title: "RDS with IAM: a token instead of a password", seenAs: gatewayAddress, behind: p.events,
			direct: []attempt{
				{"with its own login", from(writerAddress, p.rds.Port(), "events", writerName, p.writerPassword), disconnected},
				{
					"even from the gateway's address", from(gatewayAddress, p.rds.Port(), "events", upstreamRole, p.writerPassword),
					sqlState("28000"),
				},
			},
			also: p.tokensSeen,
		},
	}
}

// way syncs one database, twice, and checks what is claimed of it.
func (s *show) way(ctx context.Context, w way, tables []*table) (load, error) {
	for _, a := range w.direct {
		c, err := a.as.connect(ctx)
		if err == nil {
			_ = c.Close(ctx)
			return load{}, fmt.Errorf("the writer reached the database without the gateway, %s", a.how)
		}
		if !a.refuse(err) {
			return load{}, fmt.Errorf("directly, %s: not the refusal expected: %w", a.how, err)
		}
		s.say("   directly, %s: %s", a.how, reason(err))
	}
	self := writer{
		host: s.p.gateway.Host(), port: s.p.gateway.Port(), database: w.database,
		user: writerName, password: s.p.writerPassword, machine: net.ParseIP(writerAddress),
	}
	c, err := self.connect(ctx)
	if err != nil {
		return load{}, fmt.Errorf("log in through the gateway: %w", err)
	}
	defer c.Close(ctx)
	if err := s.address(ctx, c, w); err != nil {
		return load{}, err
	}
	var moved load
	if err := prepare(ctx, c, tables); err != nil {
		return moved, err
	}
	for _, step := range []struct {
		name string
		of   func(*table) batch
	}{{"first sync", (*table).first}, {"changes", (*table).changes}} {
		var sum load
		for _, t := range tables {
			l, err := sync(ctx, c, step.of(t))
			if err != nil {
				return moved, fmt.Errorf("%s: %w", step.name, err)
			}
			sum.add(l)
		}
		s.say("   %-10s  %s", step.name, sum)
		moved.add(sum)
	}
	return moved, s.verify(ctx, c, w, tables)
}

// address shows where the database says the connection comes from.
func (s *show) address(ctx context.Context, c *pgx.Conn, w way) error {
	var from netip.Prefix
	if err := c.QueryRow(ctx, "select inet_client_addr()").Scan(&from); err != nil {
		return err
	}
	if from.Addr().String() != w.seenAs {
		return fmt.Errorf("the database sees %s, not %s", from.Addr(), w.seenAs)
	}
	s.say("   through the gateway: logged in; the database sees %s", from.Addr())
	if w.also == nil {
		return nil
	}
	text, err := w.also()
	if err == nil {
		s.say("   %s", text)
	}
	return err
}

// verify compares, table by table, what the source has, what the writer reads
// through the gateway and what the server itself holds.
func (s *show) verify(ctx context.Context, c *pgx.Conn, w way, tables []*table) error {
	start := time.Now()
	var counts []string
	for _, t := range tables {
		want := t.expected()
		got, err := count(ctx, c, t)
		if err != nil {
			return err
		}
		row := w.behind.Rows(w.database, t.stateQuery(schema))[0]
		if held := fmt.Sprintf("%d %d", want.rows, want.fingerprint); got != want || strings.Join(row, " ") != held {
			return fmt.Errorf("%s: the source has %v, the writer reads %v, the server holds %v (rows, fingerprint)", t.name, want, got, row)
		}
		counts = append(counts, fmt.Sprintf("%s %s", t.name, thousands(int(want.rows))))
	}
	s.say("   verified    %s: counts and contents as at the source (%.1f s)", strings.Join(counts, ", "), time.Since(start).Seconds())
	return nil
}

// bastionSaw returns what sshd logged of the gateway.
func (p *parts) bastionSaw() (string, error) {
	for line := range strings.Lines(p.bastion.Logs()) {
		if strings.HasPrefix(line, "Connection from "+gatewayAddress+" ") {
			return fmt.Sprintf("the bastion sees %s (%s), and the database the bastion", gatewayAddress,
				strings.Join(strings.Fields(line)[:5], " ")), nil
		}
	}
	return "", fmt.Errorf("sshd saw no connection from %s:\n%s", gatewayAddress, p.bastion.Logs())
}

// tokensSeen returns what the stand-in made of the gateway's tokens.
func (p *parts) tokensSeen() (string, error) {
	// One token was the writer's own password, tried directly.
	if p.rds.Logins() < 1 || len(p.rds.Refused()) != 1 {
		return "", fmt.Errorf("%d logins with a token, refused: %v", p.rds.Logins(), p.rds.Refused())
	}
	tokens := p.rds.Tokens()
	token := tokens[len(tokens)-1]
	end, _, _ := strings.Cut(token, "&X-Amz-Algorithm")
	return fmt.Sprintf("the stand-in verified the signature of %s&… (%d bytes)", end, len(token)), nil
}

func sqlState(code string) func(error) bool {
	return func(err error) bool {
		var pg *pgconn.PgError
		return errors.As(err, &pg) && pg.Code == code
	}
}

// disconnected is a refusal below the protocol: nobody answered.
func disconnected(err error) bool {
	var pg *pgconn.PgError
	return err != nil && !errors.As(err, &pg)
}

// reason is the end of an error: what the other side said.
func reason(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Sprintf("%s %s %s", pg.Severity, pg.Code, pg.Message)
	}
	text := err.Error()
	return strings.TrimSpace(text[strings.LastIndex(text, ":")+1:])
}
