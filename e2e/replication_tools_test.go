package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// tool runs one of PostgreSQL's programs to its end.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, kit.PostgresBinary(t, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// ownPrograms skips the test where the server comes without PostgreSQL's other
// programs, as PG_BIN may: those of another version refuse a newer server.
func ownPrograms(t *testing.T) {
	t.Helper()
	server, program := kit.PostgresBinary(t, "postgres"), kit.PostgresBinary(t, "pg_basebackup")
	if filepath.Dir(server) != filepath.Dir(program) {
		t.Skipf("%s is of another version than %s", program, server)
	}
}

// TestBaseBackup takes a base backup, with the WAL by a second connection, and
// has PostgreSQL verify it. The program names no database of ours.
func TestBaseBackup(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		h, pg := replicationHouse(t)
		baseBackup(t, pg, h.replicate("up"))
	})
	t.Run("TLS and a bastion", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
		pg := h.replicable(kit.PostgresOptions{TLS: cert})
		_, way := h.bastion(kit.SSHDOptions{})
		h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: verify-full, ca: file:"+h.ca.File+"}", way)
		h.start(fmt.Sprintf("{address: 127.0.0.1:0, tls: {mode: require, cert: file:%s, key: file:%s}}", cert.CertFile, cert.KeyFile), replicatorYAML)
		baseBackup(t, pg, h.replicate("up", "sslmode=verify-full sslrootcert="+h.ca.File))
	})
}

func baseBackup(t *testing.T, pg *kit.Postgres, conn string) {
	t.Helper()
	ownPrograms(t)
	pg.Exec("app", "insert into events (what) select repeat(md5(n::text), 20) from generate_series(1, 50000) n")
	dir := filepath.Join(t.TempDir(), "backup")
	tool(t, "pg_basebackup", "-d", conn, "-D", dir, "--checkpoint=fast", "--wal-method=stream", "--no-sync", "--label=a backup")
	tool(t, "pg_verifybackup", dir)
	pg.WaitFor("postgres", "select count(*) from pg_stat_activity where backend_type = 'walsender'", "0")
}

// TestStandby has a standby server follow its primary through the gateway, and
// find its way again when the gateway has been away.
func TestStandby(t *testing.T) {
	t.Parallel()
	ownPrograms(t)
	h, pg := replicationHouse(t)
	standby := kit.StartPostgres(t, kit.PostgresOptions{
		Settings: replicableSettings(),
		Backup: func(data string) {
			tool(t, "pg_basebackup", "-d", h.replicate("up"), "-D", data, "--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--create-slot", "--slot=standby")
		},
	})
	follow := func(what string) {
		t.Helper()
		pg.Exec("app", "insert into events (what) values ($1)", what)
		standby.WaitFor("app", "select count(*) from events where what = '"+what+"'", "1")
	}
	follow("the first")
	if n := pg.Value("postgres", "select count(*) from pg_stat_replication where client_addr = '"+egress+"'"); n != "1" {
		t.Errorf("%s standbys come from the gateway's address", n)
	}
	pg.Exec("postgres", "select pg_terminate_backend(pid) from pg_stat_replication")
	follow("after the WAL sender was ended")
	pg.Restart()
	follow("after the primary was restarted")
}

func TestReceivePrograms(t *testing.T) {
	t.Parallel()
	h, pg := replicationHouse(t)
	ownPrograms(t)

	tool(t, "pg_recvlogical", "-d", h.replicate("up"), "--slot=logical", "--create-slot", "--plugin=test_decoding")
	pg.Exec("app", "insert into events (what) values ('for pg_recvlogical')")
	end := pg.Value("app", "select pg_current_wal_lsn()")
	got := tool(t, "pg_recvlogical", "-d", h.replicate("up"), "--slot=logical", "--start", "--endpos="+end, "--no-loop", "-f", "-", "-F", "0")
	if !strings.Contains(got, "for pg_recvlogical") {
		t.Errorf("pg_recvlogical got %q", got)
	}
	tool(t, "pg_recvlogical", "-d", h.replicate("up"), "--slot=logical", "--drop-slot")

	dir := t.TempDir()
	tool(t, "pg_receivewal", "-d", h.replicate("up"), "--slot=physical", "--create-slot", "-D", dir)
	cmd := exec.CommandContext(t.Context(), kit.PostgresBinary(t, "pg_receivewal"),
		"-d", h.replicate("up"), "--slot=physical", "-D", dir, "--no-loop", "--no-sync")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	pg.WaitFor("postgres", "select count(*) from pg_replication_slots where active", "1")
	pg.Exec("app", "insert into events (what) values ('for pg_receivewal')")
	pg.Exec("app", "select pg_switch_wal()")
	if !received(t, dir, "for pg_receivewal") {
		t.Errorf("the row is not in the WAL that was received: %s", out.String())
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Errorf("pg_receivewal: %v\n%s", err, out.String())
	}
	pg.WaitFor("postgres", "select count(*) from pg_replication_slots where active", "0")
	tool(t, "pg_receivewal", "-d", h.replicate("up"), "--slot=physical", "--drop-slot")
	if n := pg.Value("postgres", "select count(*) from pg_replication_slots"); n != "0" {
		t.Errorf("%s slots are left", n)
	}
}

// received waits until a file in the directory holds the text.
func received(t *testing.T, dir, text string) bool {
	t.Helper()
	for range 1000 {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			if content, err := os.ReadFile(f); err == nil && bytes.Contains(content, []byte(text)) {
				return true
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// A client that does not read makes the server wait, not the gateway hold.
func TestReplicationBackPressure(t *testing.T) {
	t.Parallel()
	h, pg := replicationHouse(t)
	pg.Exec("app", "insert into events (what) select repeat(md5(n::text), 20) from generate_series(1, 100000) n") // some 80 MB
	pg.Exec("postgres", "checkpoint")
	before := memory(t, h.gateway.Pid())
	for range 4 {
		c := h.walsender("true")
		hc, err := c.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		defer hc.Conn.Close()
		hc.Frontend.Send(&pgproto3.Query{String: "BASE_BACKUP"})
		if err := hc.Frontend.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	pg.WaitFor("postgres", "select count(*) from pg_stat_activity where backend_type = 'walsender' and wait_event in ('ClientWrite', 'WalSenderWriteData')", "4")
	if grown := memory(t, h.gateway.Pid()) - before; grown > 64<<20 {
		t.Errorf("the gateway has grown by %d bytes", grown)
	}
}

// memory is what a process has in memory, in bytes.
func memory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * os.Getpagesize()
}
