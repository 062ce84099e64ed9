package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"pggateway/e2e/kit"
)

const (
	roleName     = "bench"
	databaseName = "bench"
	scale        = 10 // pgbench -i: 1,000,000 accounts, 150 MB, all in shared buffers
)

// postgres is a server of our own with the pgbench tables in it. Nothing in it
// outlives the run, so nothing waits for the disk: the legs are compared, not
// the disk.
type postgres struct {
	port     int
	password string // of roleName
	verifier string // its SCRAM-SHA-256 verifier as pg_authid has it
	version  string
	pgbench  string // paths of the programs that came with the server
	psql     string
}

// startPostgres starts the newest installed server (or $PG_BIN's), which ends
// with the scope, and loads pgbench's tables. Debian's /usr/bin/pgbench is a Perl
// wrapper; the server's own is taken.
func startPostgres(ctx context.Context, scope *kit.Scope, dir string, keys keyPair) (*postgres, error) {
	srv := kit.StartPostgres(scope, kit.PostgresOptions{
		TLS:            &kit.Cert{CertFile: keys.cert, KeyFile: keys.key},
		MaxConnections: 400,
		Settings: map[string]string{
			"shared_buffers": "768MB", "max_wal_size": "4GB", "checkpoint_timeout": "1h", "wal_level": "minimal", "max_wal_senders": "0",
			"jit": "off", "max_parallel_workers_per_gather": "0", "log_connections": "off", "password_encryption": "scram-sha-256",
		},
	})
	pg := &postgres{
		port: srv.Port, password: rand.Text(),
		pgbench: kit.PostgresBinary(scope, "pgbench"), psql: kit.PostgresBinary(scope, "psql"),
	}
	srv.CreateLogin(roleName, pg.password)
	srv.Exec("postgres", "create database "+databaseName+" owner "+roleName)
	pg.verifier = srv.Value("postgres", "select rolpassword from pg_authid where rolname = $1", roleName)
	pg.version = "PostgreSQL " + srv.Value("postgres", "show server_version")
	out, err := clientCommand(ctx, pg.direct(), dir, pg.pgbench, "-i", "-s", strconv.Itoa(scale), "-q").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pgbench -i: %w: %s", err, strings.TrimSpace(string(out)))
	}
	_, err = pg.direct().query(ctx, "create unlogged table bench_events (id bigserial primary key, client int, payload text)")
	return pg, err
}

func (pg *postgres) direct() login {
	return login{host: "127.0.0.1", port: pg.port, user: roleName, password: pg.password, database: databaseName}
}
