package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// login is all that a client of any leg knows.
type login struct {
	host     string
	port     int
	user     string
	password string
	database string
	tls      bool
}

func (l login) sslmode() string {
	if l.tls {
		return "require"
	}
	return "disable"
}

// connect logs in from this process; the deadline is ctx's. Over TLS it offers
// the key exchange that libpq with OpenSSL 3.0 (Debian's) does: Go's own default
// sends a post-quantum key share of 1.2 KB, and each proxy's TLS library keeps a
// buffer as large as the greeting it has read.
func (l login) connect(ctx context.Context) (*pgconn.PgConn, error) {
	c, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s sslmode=%s",
		l.host, l.port, l.user, l.password, l.database, l.sslmode()))
	if err != nil {
		return nil, err
	}
	if c.TLSConfig != nil {
		c.TLSConfig.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	}
	return pgconn.ConnectConfig(ctx, c)
}

// query runs one statement on a connection of its own, within 30 s.
func (l login) query(ctx context.Context, sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx) // the statement's outcome is known by then
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			cols := make([]string, len(row))
			for i, v := range row {
				cols[i] = string(v)
			}
			rows = append(rows, cols)
		}
	}
	return rows, nil
}

// clientCommand is a libpq program that logs in as l and sees no other
// environment or file of the user who runs the benchmark.
func clientCommand(ctx context.Context, l login, dir string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + dir, "PGPASSFILE=/dev/null", "PGGSSENCMODE=disable",
		"PGHOST=" + l.host, "PGPORT=" + strconv.Itoa(l.port), "PGUSER=" + l.user, "PGPASSWORD=" + l.password,
		"PGDATABASE=" + l.database, "PGSSLMODE=" + l.sslmode(), "PGCONNECT_TIMEOUT=10",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 2 * time.Second
	return cmd
}
