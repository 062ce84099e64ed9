package main

import (
	"strings"
	"testing"
	"time"
)

const pgbenchSelect = `pgbench (15.8 (Debian 15.8-0+deb12u1))
transaction type: <builtin: select only>
scaling factor: 10
query mode: simple
number of clients: 16
number of threads: 2
maximum number of tries: 1
duration: 2 s
number of transactions actually processed: 71904
number of failed transactions: 0 (0.000%)
latency average = 0.444 ms
initial connection time = 61.214 ms
tps = 36034.102938 (without initial connection time)
`

const pgbenchConnect = `transaction type: <builtin: select only>
query mode: simple
number of transactions actually processed: 540
number of failed transactions: 0 (0.000%)
latency average = 59.912 ms
average connection time = 7.391 ms
tps = 267.058402 (including reconnection times)
`

func TestParsePgbench(t *testing.T) {
	for name, tc := range map[string]struct {
		out  string
		want pgbenchResult
		err  string // part of it
	}{
		"select": {out: pgbenchSelect, want: pgbenchResult{transactions: 71904, latency: 444 * time.Microsecond, tps: 36034.102938}},
		"connection per transaction": {
			out:  pgbenchConnect,
			want: pgbenchResult{transactions: 540, latency: 59912 * time.Microsecond, tps: 267.058402},
		},
		"without the line on failures, as version 14 prints it": {
			out:  strings.Replace(pgbenchSelect, "number of failed transactions: 0 (0.000%)\n", "", 1),
			want: pgbenchResult{transactions: 71904, latency: 444 * time.Microsecond, tps: 36034.102938},
		},
		"failed transactions are counted": {
			out:  strings.Replace(pgbenchSelect, "failed transactions: 0 (0.000%)", "failed transactions: 7 (0.010%)", 1),
			want: pgbenchResult{transactions: 71904, failed: 7, latency: 444 * time.Microsecond, tps: 36034.102938},
		},
		"nothing processed": {out: strings.Replace(pgbenchSelect, "processed: 71904", "processed: 0", 1), err: "no transaction"},
		"aborted":           {out: pgbenchSelect + "Run was aborted; the above results are incomplete.\n", err: "aborted"},
		"empty":             {out: "", err: "no number of transactions"},
		"without tps":       {out: strings.Replace(pgbenchSelect, "tps = ", "", 1), err: "no tps"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parsePgbench(tc.out)
			switch {
			case tc.err != "":
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want one with %q", err, tc.err)
				}
			case err != nil:
				t.Fatal(err)
			case got != tc.want:
				t.Fatalf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestParsePsqlCopy(t *testing.T) {
	const out = "Timing is on.\nCOPY 1606000\nTime: 1312.456 ms (00:01.312)\n"
	took, err := parsePsqlCopy(out, 1606000)
	if err != nil || took != 1312456*time.Microsecond {
		t.Fatalf("got %v, %v", took, err)
	}
	if _, err := parsePsqlCopy(out, 1606001); err == nil {
		t.Error("a lost row went unnoticed")
	}
	if _, err := parsePsqlCopy("COPY 5\n", 5); err == nil {
		t.Error("a missing time went unnoticed")
	}
}

func TestParseRSS(t *testing.T) {
	got, err := parseRSS([]byte("Name:\tgateway\nVmHWM:\t   99999 kB\nVmRSS:\t   12345 kB\nRssAnon:\t 1 kB\n"))
	if err != nil || got != 12345<<10 {
		t.Fatalf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "VmRSS:\n", "VmRSS:\t12 MB\n", "VmRSS:\tx kB\n"} {
		if _, err := parseRSS([]byte(bad)); err == nil {
			t.Errorf("%q has no VmRSS, and no error", bad)
		}
	}
}

func TestNegotiated(t *testing.T) {
	for conninfo, want := range map[string]string{
		"You are connected…\nSSL connection (protocol: TLSv1.3, cipher: TLS_AES_256_GCM_SHA384, compression: off)\n": "TLSv1.3 TLS_AES_256_GCM_SHA384",
		"SSL connection (protocol: TLSv1.2, cipher: ECDHE-ECDSA-AES256-GCM-SHA384, bits: 256, compression: off)":     "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384",
		"You are connected to database \"bench\"": "unknown",
	} {
		if got := negotiated(conninfo); got != want {
			t.Errorf("%q: got %q, want %q", conninfo, got, want)
		}
	}
}
