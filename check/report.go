package check

import (
	"fmt"

	"pggateway/config"
)

// Status is what came of one step.
type Status string

// The statuses. Only Fail makes an upstream one that cannot be used as configured.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip" // not looked at, because an earlier step failed or it does not apply
)

// Step names one thing that is looked at. The names are for machines, too, and stay.
type Step string

// The steps, in the order in which they are reported.
const (
	Secrets     Step = "secrets"     // secrets, keys and certificates can be read
	Credentials Step = "credentials" // AWS credentials are there, and sign a token
	Name        Step = "name"        // the first host on the way resolves
	Address     Step = "address"     // and answers, from egress.source_ip
	Bastion     Step = "bastion"     // its host key is known, and it accepts ours
	Forward     Step = "forward"     // it reaches the database
	TLS         Step = "tls"         // the server's certificate verifies
	Login       Step = "login"       // password, token or certificate is accepted
	Version     Step = "version"     // PostgreSQL 13 or later
	Writable    Step = "writable"    // not a replica, and not read-only
	Create      Step = "create"      // CREATE on the database
	Temporary   Step = "temporary"   // TEMPORARY on the database
	Schema      Step = "schema"      // the configured schema is there, and may be used
	Superuser   Step = "superuser"   // the role is none
	Replication Step = "replication" // a replication connection opens, where a writer needs one
	IAMRole     Step = "iam_role"    // rds_iam and rds_replication go together
	SeenFrom    Step = "seen_from"   // the address that the server sees us come from
)

// Line is what came of one step.
type Line struct {
	Step   Step   `json:"check"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Report is the checklist of one login on one upstream.
type Report struct {
	Upstream string      `json:"upstream"`
	Kind     config.Kind `json:"kind"`
	Host     string      `json:"host"`
	Port     uint16      `json:"port"`
	Database string      `json:"database"` // logged in to
	Role     string      `json:"role"`
	Writers  []string    `json:"writers"` // who use the role
	Lines    []Line      `json:"checks"`
}

// Failed reports whether any line did.
func (r *Report) Failed() bool { return r.count(Fail) > 0 }

// Warned reports whether any line warns.
func (r *Report) Warned() bool { return r.count(Warn) > 0 }

func (r *Report) count(s Status) int {
	n := 0
	for _, l := range r.Lines {
		if l.Status == s {
			n++
		}
	}
	return n
}

func (r *Report) add(step Step, status Status, remedy, format string, args ...any) {
	r.Lines = append(r.Lines, Line{Step: step, Status: status, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (r *Report) ok(step Step, format string, args ...any) { r.add(step, OK, "", format, args...) }

func (r *Report) fail(step Step, remedy, format string, args ...any) {
	r.add(step, Fail, remedy, format, args...)
}

func (r *Report) warn(step Step, remedy, format string, args ...any) {
	r.add(step, Warn, remedy, format, args...)
}

func (r *Report) skip(steps ...Step) {
	for _, s := range steps {
		r.add(s, Skip, "", "not looked at")
	}
}
